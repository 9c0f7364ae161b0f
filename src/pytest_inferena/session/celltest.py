"""What a cell's test works with: it measures, compares with golden, and records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from pytest_inferena.collect.loop import changed, unused_of
from pytest_inferena.ranges import RangeError
from pytest_inferena.session.ledger import hand_over
from pytest_inferena.session.story import STORY

if TYPE_CHECKING:
    from pytest_inferena.cell import Cell
    from pytest_inferena.results import Record
    from pytest_inferena.session.bench import Bench


class Golden:
    """The right-hand side of a cell's assertion: PyTorch in float64."""

    def __repr__(self) -> str:
        return "golden"


class Measured:
    """What a cell measured; equal to golden if the gate says PASS or CLOSE."""

    def __init__(self, record: Record) -> None:
        self.record = record

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Golden) and self.record.outcome.right

    __hash__ = None  # type: ignore[assignment] # compared, never a key

    def __repr__(self) -> str:
        return str(self.record)

    def explain(self) -> list[str]:
        """Lines for the assertion report: the verdict's figures, and how to run this cell alone."""
        verdict = self.record.verdict
        lines = [_cause(self.record)]
        if verdict is not None and verdict.nrmse is not None:
            lines.append(f"{verdict.tensor}: NRMSE {verdict.nrmse:.3g}, limit {verdict.limit:.3g}")
        return [*lines, f"again: {self.record.command}", f"where: {self.record.explain}"]


class CellTest:
    """One cell in its test. `measure` first, `record` only after the assertion."""

    golden = Golden()

    def __init__(self, item: pytest.Item, bench: Bench, cell: Cell, done: Record | None) -> None:
        self.item, self.bench, self.cell, self.done = item, bench, cell, done

    def measure(self) -> Measured:
        """Measure and judge the cell, or take it from the journal that is resumed.

        The test is skipped if the engine is absent or lacks something, and fails if it broke.
        """
        story = self.item.stash[STORY]
        try:
            record = self.done or self._measured()
        except BaseException:  # a time limit of pytest's, Ctrl-C: the report finishes the record
            story.blank = replace(story.blank, **self.bench.facts())
            raise
        story.measured = record
        if record.outcome.absent:
            pytest.skip(record.reason)
        plain = self.item.config.getoption("assertmode") == "plain"  # an assertion says nothing then
        if record.outcome.broke or (plain and not record.outcome.right):
            pytest.fail(broken(record), pytrace=False)
        return Measured(record)

    def record(self, measured: Measured) -> None:
        """Let pytest-benchmark have the samples, if it is there and the test passes."""
        self.item.stash[STORY].measured = hand_over(measured.record, self.item.funcargs.get("benchmark"))  # type: ignore[attr-defined] # pytest.Function has it

    def _measured(self) -> Record:
        """A new record, by the session's loop or as the test's marker for pytest-benchmark wants it."""
        settings, marker = self.bench.settings, self.item.get_closest_marker("benchmark")
        asked = marker.kwargs if marker else {}
        try:
            loop = settings.loop if settings.judges_only else changed(settings.loop, asked)
        except RangeError as error:
            pytest.fail(str(error), pytrace=False)
        record = self.bench.run(self.cell, loop)
        notes = [*record.extra.get("notes", ()), *unused_of(asked)]
        extra = {**record.extra, **({"notes": notes} if notes else {})}
        return replace(record, command=self.item.stash[STORY].blank.command, extra=extra)


def _cause(record: Record) -> str:
    """The line that summaries and annotations show, cut where their room ends: cell, verdict, cause."""
    return f"{record} {record.outcome.upper()}: {record.reason}"


def broken(record: Record) -> str:
    """What a failed test says: the cause, how to run the cell again, and the end of the worker's log."""
    lines = [_cause(record), f"again: {record.command}"]
    if record.log.strip():
        lines += ["the end of the worker's log:", record.log.rstrip()]
    return "\n".join(lines)
