"""How records of own tests come from the process that ran them: to the journal, the tables and pytest-benchmark."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_inferena.collect.misuse import is_own

if TYPE_CHECKING:
    from collections.abc import Generator

    from pytest_inferena.results import Record

OWN = "inferena_own"
"""The name under which such records travel in pytest's report. A test may have several."""
TOLD: pytest.StashKey[list[dict[str, Any]]] = pytest.StashKey()
"""What a test has measured: records, and how their models are named."""


class OwnTests:
    """The hooks that own tests need. Nothing is imported for any other test."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config

    @pytest.hookimpl(wrapper=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Generator[None]:
        """Tell pytest-benchmark that own tests use its fixture, and take back what it then says of xdist."""
        benchmarks: Any = getattr(self.config, "_benchmarksession", None)
        own = [item for item in items if is_own(item)]
        for item in own if benchmarks is not None else ():
            names = item.fixturenames  # type: ignore[attr-defined] # a function has them
            names.extend({"benchmark"}.difference(names))
        yield
        if own and benchmarks is not None:
            others = (item for item in items if "benchmark" in getattr(item, "fixturenames", ()) and not is_own(item))
            benchmarks.xdist_benchmark_found &= any("_inferena_cell" not in item.fixturenames for item in others)  # type: ignore[attr-defined]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Let the records of a test travel with its report, and their figures be properties for JUnit's file."""
        report = yield
        if told := item.stash.get(TOLD, []):
            from pytest_inferena.results import Record, typed
            from pytest_inferena.session.story import properties

            setattr(report, OWN, json.dumps(told))
            for record in (typed(Record, one["record"]) for one in told):
                of = f"inferena.{record}" if len(told) > 1 else "inferena"
                report.user_properties += properties(record, of)
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the records of a test that has run; one whose fixtures measured and failed has no call."""
        done = report.when == "call" or (report.when == "setup" and not report.passed)
        carried = json.loads(getattr(report, OWN, "[]")) if done else []
        if not carried or hasattr(self.config, "workerinput"):
            return
        from pytest_inferena.results import Record, typed
        from pytest_inferena.session.opening import session_of

        session = session_of(self.config)
        for told in carried:
            record = typed(Record, told["record"])
            session.name_model(record.model, told["title"], *told["unit"])
            session.keep(report.nodeid, record)
            self._tell(report, record, several=len(carried) > 1)

    def _tell(self, report: pytest.TestReport, record: Record, *, several: bool) -> None:
        """Put a row for what was right into pytest-benchmark's table, whose fixture has one for each test only."""
        benchmarks: Any = getattr(self.config, "_benchmarksession", None)
        if benchmarks is None or not (record.samples and record.outcome.right) or str(report.outcome) == "rerun":
            return
        from pytest_inferena.session.ledger import result

        row = result(report.nodeid, record)
        if several:
            row.name, row.fullname = (f"{name} {record}" for name in (row.name, row.fullname))
        benchmarks.benchmarks.append(row)
