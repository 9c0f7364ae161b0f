"""How records of own tests come from the process that ran them: to the journal, the tables and pytest-benchmark."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_inferena.results import Record
    from pytest_inferena.session.controller import Session

OWN = "inferena.own"
"""The name under which such a record travels with pytest's report. A test may have several."""


class OwnTests:
    """The hooks that own tests need. Nothing is imported for any other test."""

    def __init__(self, config: pytest.Config, session: Callable[[], Session]) -> None:
        self.config, self.session = config, session

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Take back pytest-benchmark's warning that xdist disables it, where it is not true of any test."""
        benchmarks = getattr(self.config, "_benchmarksession", None)
        users = [{"inferena", "cell"} & {*names} for item in items if "benchmark" in (names := names_of(item))]
        if users and all(users) and benchmarks is not None:
            benchmarks.xdist_benchmark_found = False

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Let --inferena-dry-run be answered where there are own tests only."""
        if self.config.getoption("inferena_dry_run") and any("inferena" in names_of(item) for item in session.items):
            self.session()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the records of a test that has run; one whose fixtures measured and failed has no call."""
        done = report.when == "call" or (report.when == "setup" and not report.passed)
        carried = [str(value) for name, value in report.user_properties if name == OWN]
        if not (carried and done) or hasattr(self.config, "workerinput"):
            return
        from pytest_inferena.results import Record, typed

        for told in map(json.loads, carried):
            record = typed(Record, told["record"])
            self.session().name_model(record.model, told["title"], *told["unit"])
            self.session().keep(report.nodeid, record)
            self._tell(report, record, several=len(carried) > 1)

    def _tell(self, report: pytest.TestReport, record: Record, *, several: bool) -> None:
        """Put a row into pytest-benchmark's table, whose fixture has one for each test only."""
        benchmarks: Any = getattr(self.config, "_benchmarksession", None)
        if benchmarks is None or not record.samples:
            return
        from pytest_inferena.session.distributed import revive

        row = revive(report.nodeid, record)
        row.group = record.extra.get("group", row.group)
        if several:
            row.name, row.fullname = (f"{name} {record}" for name in (row.name, row.fullname))
        benchmarks.benchmarks.append(row)


def names_of(item: pytest.Item) -> tuple[str, ...]:
    """The fixtures that a test takes, its fixtures' own among them."""
    return tuple(getattr(item, "fixturenames", ()))
