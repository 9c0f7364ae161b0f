"""A live line below pytest's own output: which cell runs, and how long is left. On a terminal only."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from pytest_inferena.report.encodings import within
from pytest_inferena.session.plan import UNKNOWN, cells

if TYPE_CHECKING:
    import pytest

    from pytest_inferena.collect.settings import Settings
    from pytest_inferena.session.plan import Walls

ROOM = "\x1bD\x1bM"  # one line down and up again: scrolls if need be, the cursor stays where it was
BELOW, BACK, ERASE = "\x1b7\n\r", "\x1b8", "\x1b[K"


class Live:
    """Writes below the cursor and puts the cursor back, so that pytest's own output stays whole."""

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self.config, self.settings = config, settings
        self.ahead: dict[str, tuple[str, float]] = {}
        self.count = 0
        self.last = ""

    def shows(self) -> bool:
        """Whether the line is shown: pytest writes to a terminal that can move its cursor, and was not to be quiet."""
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        moves = os.environ.get("TERM") != "dumb"
        return bool(reporter and reporter.isatty and moves and self.config.getoption("verbose") >= 0)

    def expect(self, items: list[pytest.Item], walls: Walls) -> None:
        """Take note of the cells that will run."""
        for nodeid, _, cell in cells(items, self.settings):
            self.ahead[nodeid] = (f"{cell.id} {cell.metric}", walls.get(cell.key, UNKNOWN))
        self.count = len(self.ahead)

    def start(self, nodeid: str) -> None:
        """A cell begins."""
        if nodeid not in self.ahead:
            return
        name, _ = self.ahead[nodeid]
        left = sum(took for _, took in self.ahead.values())
        number = self.count - len(self.ahead) + 1
        until = time.strftime("%H:%M", time.localtime(time.time() + left))
        since = time.strftime("%H:%M:%S")
        text = f"[{number} of {self.count}] {name} since {since} … about {left / 60:.0f} min left, until {until}"
        self._below(f"{text}{self.last}")

    def done(self, nodeid: str, outcome: str) -> None:
        """A cell ended."""
        name, _ = self.ahead.pop(nodeid, (nodeid, 0))
        self.last = f"; {name}: {outcome.upper()}"
        self.clear()

    def clear(self) -> None:
        """Take the line away."""
        self._below("")

    def _below(self, text: str) -> None:
        if self.shows():
            reporter: Any = self.config.pluginmanager.get_plugin("terminalreporter")
            writer = reporter._tw  # noqa: SLF001 - the width and the file pytest itself writes to
            shown = within(text, writer._file.encoding)[: writer.fullwidth - 1]  # noqa: SLF001
            reporter.write(f"{ROOM}{BELOW}{ERASE}{shown}{BACK}", flush=True)
