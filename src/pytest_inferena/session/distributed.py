"""Cells under pytest-xdist: a target's cells stay together, and a process that dies costs its own cell.

`loadgroup` could do the grouping, but it loses its groups with pytest 9.2 (pytest-xdist issue 1386), and changes node
ids where it works.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from xdist.scheduler import LoadScheduling, LoadScopeScheduling

from pytest_inferena.cell import Outcome
from pytest_inferena.results import Record
from pytest_inferena.session.story import carry

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from pytest_inferena.session.controller import Session


class ByTarget(LoadScopeScheduling):
    """Gives all cells of a target to one xdist worker, and other tests one by one to any."""

    cells: Mapping[str, tuple[str, str, str]] = {}
    """Node id → target, metric and file of every cell."""

    def _split_scope(self, nodeid: str) -> str:
        """The scope of a test: the target of a cell, else the test itself."""
        return self.cells[nodeid][0] if nodeid in self.cells else nodeid

    def _reschedule(self, node: Any) -> None:
        """Give tests to a process that has collected. If several die, xdist asks this of one that has just begun."""
        if node in self.registered_collections:
            super()._reschedule(node)

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

    def __init__(self, session: Session, cells: Mapping[str, tuple[str, str, str]]) -> None:
        self.session, self.cells = session, cells
        self._deal(session.config.pluginmanager.get_plugin("dsession"))

    def _deal(self, distributor: Any) -> None:
        """Deal out cells by target where the user asked for plain `load`, as `-n` does. No test has been dealt yet."""
        plain = distributor.sched
        if type(plain) is LoadScheduling:
            distributor.sched = scheduler = ByTarget(distributor.config, distributor.log)
            scheduler.cells = self.cells
            for node in plain.nodes:
                scheduler.add_node(node)
            for node, collection in plain.node2collection.items():
                scheduler.add_node_collection(node, collection)

    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport) -> None:
        """Give the report of a test that ended its process the record that the process can't give any more."""
        id_, metric, file = self.cells.get(crashitem, ("", "", ""))
        targets = [target for target in self.session.registry.targets if target.id == id_]
        for target in targets:
            settings = self.session.settings
            cell = settings.cell(target, metric)
            command = settings.call.again(target, cell, Path(file), crashitem)
            known = {"command": command, "started": self.session.run.date}
            carry(report, Record.of(cell, Outcome.CRASH, reason=str(report.longrepr), **known))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self) -> Generator[None, None, None]:
        """Put pytest-benchmark's results in order, before it writes them."""
        self.session.ledger.sort()
        yield
