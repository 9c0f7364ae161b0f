"""Columns that are asked for by name, beside those of the metrics: what a record has, or what follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, TypeAlias

from pytest_inferena.cell import METRICS
from pytest_inferena.report import ReportError
from pytest_inferena.report.facts import step
from pytest_inferena.report.texts import ABSENT, clean, note_text, number

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from pytest_inferena.results import Record, Run

NOT_RECORDED = "this result file does not have it"
STEADY = ("inference", "latency", "training")
NOT_MEASURED = "nothing was measured"
SIZE = "how much a step processes is said of the full size alone"
UNSAID = "nobody said what a step processes"
UNCOUNTED = "none of its operators is counted"
Figure: TypeAlias = "float | str"
"""A figure in its column's unit, or why there is none."""


@dataclass(frozen=True)
class Kind:
    """What can be asked for.

    Attributes:
        title: What is shown, behind the name of the metric.
        unit: Its unit, with `{item}` for what a step of the model processes.
        figure: That of a record.
        metrics: The metrics that have a column of it each; none: all share one, for which the first that has it counts.

    """

    title: str
    unit: str
    figure: Callable[[Run, Record], Figure]
    metrics: tuple[str, ...] = ()

    def has(self, metric: str) -> bool:
        """Whether cells of a metric have it."""
        return not self.metrics or metric in self.metrics


@dataclass(frozen=True)
class Column:
    """One column of a table; `metrics` are those of the cells that it looks at."""

    name: str
    title: str
    unit: str
    metrics: tuple[str, ...]

    def of(self, run: Run, cells: Mapping[str, Record]) -> tuple[Record, Figure] | None:
        """The figure of an engine, or why it has none, and the cell that says so; None without such a cell.

        Args:
            run: The header.
            cells: The engine's, by metric.

        """
        found = [
            (cells[metric], KINDS[self.name].figure(run, cells[metric])) for metric in self.metrics if metric in cells
        ]
        return next((one for one in found if not isinstance(one[1], str)), found[0] if found else None)


def shown(figure: Figure) -> str:
    """A figure as all formats write it."""
    return ABSENT if isinstance(figure, str) else number(figure)


def parse(texts: Iterable[str]) -> tuple[str, ...]:
    """Names of columns, with commas between them.

    Raises:
        ReportError: There is no such column.

    """
    names = [name.strip() for text in texts for name in text.split(",")]
    for name in names:
        if name not in KINDS:
            raise ReportError(f"unknown column {name!r}; known are {', '.join(KINDS)}")
    return tuple(dict.fromkeys(names))


def asked(names: Iterable[str], there: Collection[str], item: str) -> list[Column]:
    """The columns of a table.

    Args:
        names: What was asked for; a name that a newer version knows is left out.
        there: The metrics of the table.
        item: What a step processes, "" where nobody said it.

    """
    metrics = tuple(metric for metric in METRICS if metric in there)
    found = []
    for name in (name for name in names if name in KINDS):
        kind = KINDS[name]
        each = [(f"{metric} {kind.title}", (metric,)) for metric in metrics if metric in kind.metrics]
        found += [
            Column(name, title, kind.unit.format(item=clean(item) or "item"), of)
            for title, of in (each if kind.metrics else [(kind.title, metrics)])
        ]
    return found


def _recorded(name: str, record: Record) -> Figure:
    """A figure that a record has, or why it has none."""
    value: float | None = getattr(record, name)
    if value is not None:
        return value
    if not record.outcome.judged:
        return note_text(record)
    return clean(record.missing.get(name, "")) or (NOT_RECORDED if record.samples else NOT_MEASURED)


def _throughput(run: Run, record: Record) -> Figure:
    _, items = step(run, [record])
    return _a_second(record, float(items), SIZE if record.size != "full" else UNSAID)


def _gflops(_: Run, record: Record) -> Figure:
    flop = _recorded("flop", record)
    return flop if isinstance(flop, str) else _a_second(record, flop / 1e9, UNCOUNTED)


def _peak(run: Run, record: Record) -> Figure:
    rate, peak = _gflops(run, record), _recorded("peak", record)
    if isinstance(rate, str) or isinstance(peak, str):
        return rate if isinstance(rate, str) else peak
    return _quotient(rate * 100, peak, NOT_RECORDED)


def _a_second(record: Record, amount: float, without: str) -> Figure:
    seconds = _recorded("median", record)
    return seconds if isinstance(seconds, str) else _quotient(amount, seconds, without)


def _quotient(amount: float, by: float, without: str) -> Figure:
    """One figure by another, or what is said where one of them is none, as in files of others."""
    found = amount / by if by else 0
    return found if 0 < found < inf else without


KINDS = {
    "load": Kind("load", "s", lambda _, record: _recorded("load", record)),
    "memory": Kind("memory", "MiB", lambda _, record: _recorded("memory", record), METRICS),
    "throughput": Kind("throughput", "{item}s/s", _throughput, ("inference", "training")),
    "gflops": Kind("rate", "GFLOP/s", _gflops, STEADY),
    "peak": Kind("peak share", "%", _peak, STEADY),
}
"""By the names that --inferena-columns takes."""
