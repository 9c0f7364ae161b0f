"""What became of a cell's test: its record is brought in line with pytest's reports, in the process that runs it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from pytest_inferena.cell import Outcome
from pytest_inferena.results import Record, plain, typed

if TYPE_CHECKING:
    from pytest_inferena.cell import Cell

ATTRIBUTE = "inferena"
"""The name under which a record travels in pytest's report, from the process that ran the cell."""
XPASS = "[XPASS(strict)]"
"""How pytest's report begins if a test passes that was declared to fail."""


@dataclass
class Story:
    """One attempt at a cell's test."""

    blank: Record
    """What is known of the cell as long as it is not measured."""
    measured: Record | None = None
    told: Record | None = None
    """What the last report said."""

    @classmethod
    def of(cls, cell: Cell, command: str) -> Story:
        """The beginning of one."""
        return cls(Record.of(cell, Outcome.ERROR, command=command))

    def tell(self, report: pytest.TestReport, error: BaseException | None) -> None:
        """Finish the record from the report of a phase, and let it travel with that."""
        self.told = self._after(report, error)
        if self.told is not None:
            carry(report, self.told)

    def _after(self, report: pytest.TestReport, error: BaseException | None) -> Record | None:
        """The record after a phase; None where there is nothing to tell: a skip before the test, or no measurement."""
        record = self.told if report.when == "teardown" else self.measured
        expected = hasattr(report, "wasxfail")
        if report.skipped and report.when != "call":
            return record
        if not (report.passed or report.skipped) or (report.skipped and expected):
            return self._failed(record, report, error)
        if report.skipped and not (record and record.outcome.absent):
            return replace(record or self.blank, outcome=Outcome.UNSUPPORTED, reason=f"skipped: {_said(report, error)}")
        if report.when == "call" and record and report.passed and not record.outcome.right:
            report.outcome = "skipped" if expected else "failed"  # pytest counts cells, so it must not count this one
            report.longrepr = f"the test passes, but not its cell: {record.outcome}: {record.reason}"
        return record

    def _failed(self, record: Record | None, report: pytest.TestReport, error: BaseException | None) -> Record:
        """The record of a test that failed. What the cell itself did wrong comes first."""
        if record and not (record.outcome.right or record.outcome.absent):
            return record
        said = _said(report, error)
        if record and said.startswith(XPASS):
            return replace(record, flags=(*record.flags, "xpass"))
        where = report.when if report.when != "call" else "measured, but its test failed" if record else ""
        return cut_off(record or self.blank, error, ": ".join(filter(None, [where, said])))


_OUTCOMES = pytest.fail.Exception | pytest.skip.Exception | pytest.xfail.Exception
"""What pytest itself raises: the words say it all."""
STORY: pytest.StashKey[Story] = pytest.StashKey()


def carry(report: pytest.TestReport, record: Record) -> None:
    """Let a record travel with a report, and its figures be properties for JUnit's file and its like."""
    setattr(report, ATTRIBUTE, json.dumps(plain(record)))
    report.user_properties += properties(record)


def record_of(report: pytest.TestReport) -> Record | None:
    """The record that a report carries."""
    carried = getattr(report, ATTRIBUTE, None)
    return None if carried is None else typed(Record, json.loads(carried))


def properties(record: Record, of: str = "inferena") -> list[tuple[str, str | float]]:
    """A record's figures, by names that begin with what they are `of`."""
    found: dict[str, str | float | None] = {"outcome": record.outcome.value, "reason": record.reason or None}
    if record.median is not None:
        found |= {"median": record.median, "unit": record.unit}
    if record.verdict is not None:
        found |= {name: getattr(record.verdict, name) for name in ("tensor", "nrmse", "limit")}
    return [(f"{of}.{name}", value) for name, value in found.items() if value is not None]


def cut_off(record: Record, error: BaseException | None, reason: str = "") -> Record:
    """A record of what an exception has ended: a time limit is a TIMEOUT, whoever set it."""
    said = _said(None, error)
    outcome = Outcome.TIMEOUT if isinstance(error, TimeoutError) or said.startswith("Timeout") else Outcome.ERROR
    return replace(record, outcome=outcome, reason=reason or said)


def _said(report: pytest.TestReport | None, error: BaseException | None) -> str:
    """The first line of what went wrong, and the notes that were made on its way."""
    what = report.longrepr if error is None and report else error
    first = str(what).partition("\n")[0].removesuffix(".")
    if error is not None and not isinstance(error, AssertionError | _OUTCOMES):
        first = ": ".join(filter(None, [type(error).__name__, first]))
    return ", ".join([first or type(error).__name__, *getattr(error, "__notes__", ())])
