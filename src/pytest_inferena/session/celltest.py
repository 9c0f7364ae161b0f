"""What a cell's test works with: it measures, compares with golden, and records."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from pytest_inferena.results import Record, plain, typed
from pytest_inferena.session.ledger import replay

if TYPE_CHECKING:
    from pytest_inferena.cell import Cell
    from pytest_inferena.session.bench import Bench

PROPERTY = "inferena"
"""The name under which a record travels with pytest's report, from the process that ran the cell."""


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
        lines = [f"{self!r} is not golden", f"FAIL: {self.record.reason}"]
        if verdict is not None and verdict.nrmse is not None:
            lines.append(f"{verdict.tensor}: NRMSE {verdict.nrmse:.3g}, limit {verdict.limit:.3g}")
        return [*lines, f"again: {self.record.command}"]


class CellTest:
    """One cell in its test. `measure` first, `record` only after the assertion."""

    golden = Golden()

    def __init__(self, item: pytest.Item, bench: Bench, cell: Cell, done: Record | None) -> None:
        self.item, self.bench, self.cell, self.done = item, bench, cell, done

    def measure(self) -> Measured:
        """Measure and judge the cell, or take it from the journal that is resumed.

        The test is skipped if the engine is absent or lacks something, and fails if it broke. In both cases the
        record has been attached to the test's report before.
        """
        again = self.bench.settings.reproduce(self.cell, self.item.nodeid)
        record = self.done or replace(self.bench.run(self.cell), command=again)
        self.item.user_properties.append((PROPERTY, json.dumps(plain(record))))
        if record.outcome.absent:
            pytest.skip(record.reason)
        if record.outcome.broke:
            pytest.fail(broken(record), pytrace=False)
        return Measured(record)

    def record(self, measured: Measured) -> None:
        """Hand the samples to pytest-benchmark, if it is there."""
        benchmark = self.item.funcargs.get("benchmark")  # type: ignore[attr-defined] # pytest.Function has it
        if benchmark is not None:
            replay(self.item, benchmark, measured.record)


def broken(record: Record) -> str:
    """What a test says whose engine did not come to its end."""
    lines = [f"{record.outcome}: {record.reason}", f"again: {record.command}"]
    if record.log.strip():
        lines += ["the end of the worker's log:", record.log.rstrip()]
    return "\n".join(lines)


def record_of(report: pytest.TestReport) -> Record | None:
    """The record that a report carries."""
    carried = (value for name, value in report.user_properties if name == PROPERTY)
    return next((typed(Record, json.loads(str(value))) for value in carried), None)


def target_of(nodeid: str) -> str:
    """`smollm2-jax-xla` of `…::test_inference[smollm2-jax-xla]`; "" if there are no brackets."""
    _, bracket, rest = nodeid.rpartition("[")
    return rest.removesuffix("]") if bracket else ""
