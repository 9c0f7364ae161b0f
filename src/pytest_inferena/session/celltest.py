"""What a cell's test holds in its hands: measure, compare with golden, record."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_inferena.session.ledger import replay

if TYPE_CHECKING:
    from pytest_inferena.session.bench import Bench

PROPERTY = "inferena"
"""Under which name a record travels with pytest's report, from whichever process ran the cell."""

SKIPPED = frozenset({"unsupported", "not_installed"})
JUDGED = frozenset({"pass", "close", "fail"})


class Golden:
    """The right-hand side of a cell's assertion: PyTorch in float64."""

    def __repr__(self) -> str:
        return "golden"


class Measured:
    """What a cell measured; equal to golden if the gate says PASS or CLOSE."""

    def __init__(self, record: dict[str, Any]) -> None:
        self.record = record

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Golden) and self.record["outcome"] in {"pass", "close"}

    __hash__ = None  # type: ignore[assignment] # compared, never a key

    def __repr__(self) -> str:
        return "-".join(str(self.record[key]) for key in ("model", "framework", "backend", "metric"))

    def explain(self) -> list[str]:
        """Lines for the assertion report: the verdict's figures, and how to run this cell alone."""
        verdict = self.record["verdict"] or {}
        lines = [f"{self!r} is not golden", f"FAIL: {self.record['reason']}"]
        if verdict.get("nrmse") is not None:
            lines.append(f"{verdict['tensor']}: NRMSE {verdict['nrmse']:.3g}, limit {verdict['limit']:.3g}")
        return [*lines, f"again: {self.record['command']}"]


class CellTest:
    """One cell in its test. `measure` first, `record` only after the assertion."""

    golden = Golden()

    def __init__(self, item: pytest.Item, bench: Bench, metric: str, done: dict[str, Any] | None) -> None:
        self.item, self.bench, self.metric, self.done = item, bench, metric, done

    def measure(self) -> Measured:
        """Measure and judge the cell, or take it from the journal that is resumed.

        Skips where the engine is absent or lacks something, fails where it broke; either way the record
        has been attached to the test's report before.
        """
        again = self.bench.settings.reproduce(self.item.nodeid)
        record = self.done or self.bench.run(self.metric) | {"command": again}
        self.item.user_properties.append((PROPERTY, json.dumps(record)))
        if record["outcome"] in SKIPPED:
            pytest.skip(record["reason"])
        if record["outcome"] not in JUDGED:
            pytest.fail(_broken(record), pytrace=False)
        return Measured(record)

    def record(self, measured: Measured) -> None:
        """Hand the samples to pytest-benchmark, if it is there."""
        benchmark = self.item.funcargs.get("benchmark")  # type: ignore[attr-defined] # pytest.Function has it
        if benchmark is not None:
            replay(self.item, benchmark, measured.record)


def _broken(record: dict[str, Any]) -> str:
    lines = [f"{record['outcome']}: {record['reason']}", f"again: {record['command']}"]
    if record["log"].strip():
        lines += ["the end of the worker's log:", record["log"].rstrip()]
    return "\n".join(lines)


def record_of(report: pytest.TestReport) -> dict[str, Any] | None:
    """The record that a report carries."""
    for name, value in report.user_properties:
        if name == PROPERTY:
            record: dict[str, Any] = json.loads(str(value))
            return record
    return None


def target_of(nodeid: str) -> str:
    """`smollm2-jax-xla` of `…::test_inference[smollm2-jax-xla]`; "" if there are no brackets."""
    _, bracket, rest = nodeid.rpartition("[")
    return rest.removesuffix("]") if bracket else ""
