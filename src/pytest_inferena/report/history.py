"""How `inferena history` is shown: a table of all series, and a sentence for each change point."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

from pytest_inferena.cell import KEY
from pytest_inferena.report.facts import some
from pytest_inferena.report.texts import clean, counted, display, number, short_text
from pytest_inferena.results.levels import LEAST

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_inferena.report.trends import History, Move, Series


def render(history: History) -> str:
    """Render the machine, the table, the change points, and what is in no series."""
    first, last = history.runs[0], history.runs[-1]
    machine = f"{clean(last.platform.cpu)}, {clean(last.platform.identity)}"
    heads = ["Cell", "Runs", "First", "Last", "Change"]
    rows = [_row(series) for series in history.series]
    few = f"A change point takes {2 * LEAST} runs, {LEAST} on each side."
    parts = [
        f"{machine}: {counted(len(history.runs))}, {clean(first.date)} to {clean(last.date)}",
        tabulate(rows, heads, tablefmt="simple", disable_numparse=True) if rows else "",
        "\n".join(_sentence(series, move) for series in history.series for move in series.moves),
        "\n".join([
            *(_began(series) for series in history.series if series.apart),
            *(_left_out(reason, cells) for reason, cells in history.left_out.items()),
            *([few] if any(not series.enough for series in history.series) else []),
        ]),
    ]  # fmt: skip
    return "\n\n".join(filter(None, parts)) + "\n"


def to_json(history: History) -> dict[str, Any]:
    """The history as JSON values. Unit of figures: seconds."""
    return {
        "platform": {"id": (platform := history.runs[-1].platform).id, "identity": platform.identity},
        "runs": [{"id": run.id, "date": run.date, "commit": run.commit} for run in history.runs],
        "series": [_plain(series) for series in history.series],
        "left_out": history.left_out,
    }


def _plain(series: Series) -> dict[str, Any]:
    cell = series.points[-1].record
    return {
        "cell": series.cell,
        **{name: getattr(cell, name) for name in KEY},
        "apart": series.apart,
        "enough": series.enough,
        "points": [
            {"run": run.id, "median": record.median, "interval": record.interval, "versions": record.versions}
            for run, record in series.points
        ],
        "moves": [{**asdict(move), "ratio": move.new / move.old} for move in series.moves],
    }


def _row(series: Series) -> list[Any]:
    """By how much the last figure differs from the first, and whether the level moved between them."""
    first, last = series.points[0].record, series.points[-1].record
    ratio = f"{last.median / first.median - 1:+.1%}" if first.median and last.median and len(series.points) > 1 else ""
    count = len(series.moves)
    moved = f"{count} change point{'s' * (count > 1)}" if count else "steady" if series.enough else "too few runs"
    cell = f"{series.cell} ({display(last.metric, last.unit)[0]})"
    return [cell, len(series.points), short_text(first), short_text(last), ", ".join(filter(None, [ratio, moved]))]


def _sentence(series: Series, move: Move) -> str:
    record = series.points[-1].record
    unit, scale = display(record.metric, record.unit)
    levels = f"{number(move.old * scale)} → {number(move.new * scale)} {unit}"
    changed = ", ".join(move.versions or move.others)
    changed = f"with {changed}" if changed else "while nothing changed that the runs record"
    also = f"; also {', '.join(move.others)}" if move.versions and move.others else ""
    return (
        f"{series.cell}: {move.new / move.old - 1:+.1%} ({levels}) {changed}{also}; "
        f"first run {move.first}, the one before {move.last}"
    )


def _began(series: Series) -> str:
    return f"{series.cell}: a new series begins with run {series.points[0].run.id}: {series.apart}"


def _left_out(reason: str, cells: Mapping[str, int]) -> str:
    return f"left out: {some([f'{cell} ({counted(runs)})' for cell, runs in cells.items()])}: {reason}"
