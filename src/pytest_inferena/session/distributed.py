"""Cells under pytest-xdist: a target's cells stay together, and a process that dies costs its own cell.

Tests are collected in the processes, so they tell the controller, in files, which tests are cells. `loadgroup` could do
the grouping, but it loses its groups with pytest 9.2 (pytest-xdist issue 1386), and changes node ids where it works.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from pytest_inferena.cell import Outcome
from pytest_inferena.results import Record
from pytest_inferena.session.plan import cells
from pytest_inferena.session.story import carry

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from xdist.scheduler import Scheduling

    from pytest_inferena.collect.settings import Settings
    from pytest_inferena.session.controller import Session

LIST = "inferena_cells"
"""Under this name a process is told where its list of cells goes."""


class ByTarget(LoadScopeScheduling):
    """Gives all cells of a target to one xdist worker, and other tests one by one to any."""

    controller: Controller

    def _split_scope(self, nodeid: str) -> str:
        """The scope of a test: the target of a cell, else the test itself."""
        target, _ = self.controller.cells.get(nodeid, (nodeid, ""))
        return target

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

    def __init__(self, session: Session) -> None:
        self.session = session
        self.folder = Path(tempfile.mkdtemp(prefix="inferena-cells-"))

    @cached_property
    def cells(self) -> Mapping[str, tuple[str, str]]:
        """Node id → target and metric of every cell, once the tests are collected; all processes have the same."""
        lists = self.folder.glob("*.json")
        return next((json.loads(file.read_text()) for file in lists), {})

    def pytest_configure_node(self, node: Any) -> None:
        """Tell a process where its list goes."""
        node.workerinput[LIST] = str(self.folder / f"{node.gateway.id}.json")

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Scheduling | None:
        """Ours, where the user asked for plain `load`, as `-n` does."""
        if config.getoption("dist") != "load":
            return None
        scheduler = ByTarget(config, log)
        scheduler.controller = self
        return scheduler

    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport) -> None:
        """Give the report of a test that ended its process the record that the process can't give any more."""
        id_, metric = self.cells.get(crashitem, ("", ""))
        targets = [target for target in self.session.registry.targets if target.id == id_]
        for target in targets:
            settings = self.session.settings
            cell = settings.cell(target, metric)
            command = settings.reproduce(cell, crashitem)
            carry(report, Record.of(cell, Outcome.CRASH, reason=str(report.longrepr), command=command))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self) -> Generator[None, None, None]:
        """Put pytest-benchmark's results in order, before it writes them."""
        self.session.ledger.sort()
        yield

    def pytest_unconfigure(self) -> None:
        """Remove the lists."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Process:
    """The hook that only a process of xdist's needs."""

    def __init__(self, file: str, settings: Settings) -> None:
        self.file, self.settings = Path(file), settings

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Tell the controller which tests are cells, before xdist tells it that they are collected."""
        found = {nodeid: (target.id, cell.metric) for nodeid, target, cell in cells(session.items, self.settings)}
        if self.file.parent.exists():  # not on another machine
            part = self.file.with_suffix(".part")
            part.write_text(json.dumps(found))
            part.rename(self.file)
