"""Cells under pytest-xdist: a worker's cells stay together, their samples come back, and one benchmark JSON is made.

pytest-benchmark switches itself off when xdist distributes. Its results are rebuilt here, on the controller, from the
records that travel with the reports. `loadgroup` could do the grouping, but it loses its groups with pytest 9.2
(pytest-xdist issue 1386), and changes node ids where it works.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from pytest_benchmark.stats import Metadata
from xdist.scheduler import LoadScheduling, LoadScopeScheduling

from pytest_inferena.session.celltest import record_of, target_of
from pytest_inferena.session.ledger import extra_of, group_of, params_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from pytest_inferena.results import Record


class ByTarget(LoadScopeScheduling):
    """Gives all cells of a target to one xdist worker, and other tests one by one to any."""

    targets: AbstractSet[str] = frozenset()

    def _split_scope(self, nodeid: str) -> str:
        """The scope of a test: the target in its id, else the test itself."""
        target = target_of(nodeid)
        return target if target in self.targets else nodeid

    def remove_node(self, node: Any) -> Any:
        """Take back the tests of a dead process, but not the one that it died in: it would kill the next one too."""
        for unit in self.assigned_work[node].values():
            died = next((nodeid for nodeid, completed in unit.items() if not completed), None)
            if died is not None:
                del unit[died]
                super().remove_node(node)
                return died
        super().remove_node(node)
        return None


class Controller:
    """The hooks that only the distributing process needs."""

    def __init__(self, config: pytest.Config, targets: Mapping[str, Any]) -> None:
        self.benchmarks = getattr(config, "_benchmarksession", None)
        self.targets = frozenset(targets)
        if self.benchmarks is not None:
            self.benchmarks.xdist_warning = False  # it warns that nothing is benchmarked, which is not so here
        self._deal(config.pluginmanager.get_plugin("dsession"))

    def _deal(self, distributor: Any) -> None:
        """Deal out cells by target where the user asked for plain `load`, as `-n` does. No test has been dealt yet."""
        plain = distributor.sched
        if type(plain) is LoadScheduling:
            distributor.sched = scheduler = ByTarget(distributor.config, distributor.log)
            scheduler.targets = self.targets
            for node in plain.nodes:
                scheduler.add_node(node)
            for node, collection in plain.node2collection.items():
                scheduler.add_node_collection(node, collection)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Rebuild what pytest-benchmark's fixture would have kept."""
        record = record_of(report)
        far = hasattr(report, "node") and report.when == "call" and report.passed
        if self.benchmarks is not None and far and record is not None and record.samples:
            self.benchmarks.benchmarks.append(revive(report.nodeid, record))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Reports arrive in any order; pytest-benchmark keeps that of the list."""
        if self.benchmarks is not None:
            self.benchmarks.benchmarks.sort(key=lambda bench: bench.fullname)


def revive(nodeid: str, record: Record) -> Metadata:
    """A result of pytest-benchmark, made of a record as the fixture in the worker would have made it."""
    fixture = SimpleNamespace(
        name=nodeid.rpartition("::")[2],
        fullname=nodeid,
        group=group_of(record),
        param=target_of(nodeid),
        params=params_of(record),
        extra_info=extra_of(record),
        cprofile_stats=None,
        has_error=False,
    )
    made = Metadata(fixture, iterations=1, options={"timer": "replay", "warmup": False})
    for sample in record.samples:
        made.update(sample)
    return made
