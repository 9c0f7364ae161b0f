"""All attempts at a cell in one run: its test may be run again, repeated, or be one of several."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from pytest_inferena.cell import Outcome

if TYPE_CHECKING:
    import pytest

    from pytest_inferena.cell import Key
    from pytest_inferena.results import Record

PYTESTS = {"passed", "failed", "skipped"}
"""The outcomes of a report that count. Plugins that run a test again have others, of the attempt that does not."""


@dataclass
class Attempt:
    """One of them."""

    record: Record
    final: bool = True
    """Whether pytest counts it: it was not run again."""


@dataclass
class Attempts:
    """Those of a run, by cell."""

    _of_cell: dict[Key, list[Attempt]] = field(default_factory=dict)
    _now: dict[Any, Attempt] = field(default_factory=dict)
    """Those whose teardown is ahead, by process and node id."""

    def add(self, report: pytest.TestReport, record: Record | None) -> Record | None:
        """Take note of a report with the record that it carries.

        Returns:
            what is to be told of the cell from now on.
        """
        name = (getattr(report, "node", None), report.nodeid)
        attempt = self._now.pop(name, None) if report.when != "setup" else None
        if record is None:
            return None
        if attempt is None:
            attempt = Attempt(record)
            self._of_cell.setdefault(record.key, []).append(attempt)
        if report.when != "teardown":
            self._now[name] = attempt
        attempt.record = record
        attempt.final &= report.outcome in PYTESTS
        return _told(self._of_cell[record.key])


def _told(attempts: list[Attempt]) -> Record:
    """The worst of what pytest counts, the last of its kind; it names the outcomes of all attempts, in their order."""
    counted = [attempt.record for attempt in attempts if attempt.final] or [attempts[-1].record]
    worst = max(reversed(counted), key=_rank)
    outcomes = [outcome for one in attempts for outcome in one.record.attempts or (one.record.outcome,)]
    return replace(worst, attempts=tuple(outcomes) if len(outcomes) > 1 else ())


def _rank(record: Record) -> int:
    """How bad it is. A test that fails because its cell is right is bad too."""
    if record.outcome.absent:
        return 0
    good = record.outcome.right and "xpass" not in record.flags
    return 3 if not good else 2 if record.outcome is Outcome.CLOSE else 1
