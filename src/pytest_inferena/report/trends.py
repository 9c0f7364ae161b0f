"""The runs of one machine over time: each cell's figures, where their level moved, and what moved with it."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from pytest_inferena.report.compare import incomparable
from pytest_inferena.report.names import named, platform_of
from pytest_inferena.report.texts import clean, competes
from pytest_inferena.results import Results, Titles
from pytest_inferena.results.levels import LEAST, moves

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pytest_inferena.results import Record, Run


class Point(NamedTuple):
    """A cell's figure in a run."""

    run: Run
    record: Record


@dataclass(frozen=True)
class Move:
    """Where the level of a series moved.

    Attributes:
        old: The level before: the median of its runs' medians. Unit: seconds.
        new: The level from there on. Unit: seconds.
        last: The last run of the old level.
        first: The first run of the new level.
        versions: Of what the engine consists of, what these two runs record otherwise.
        others: What else they record otherwise.

    """

    old: float
    new: float
    last: str
    first: str
    versions: Sequence[str]
    others: Sequence[str]


@dataclass
class Series:
    """Figures of one cell that compare: the same program, weights and inputs.

    Attributes:
        cell: Model, engine and metric, for display.
        apart: Why it is not joined to the figures of this cell before it; empty for the first.
        points: One for each run, in the order of the runs.
        moves: Where its level moved.

    """

    cell: str
    apart: str
    points: list[Point]
    moves: Sequence[Move] = ()

    @property
    def enough(self) -> bool:
        """Whether there are enough runs for a change point."""
        return len(self.points) >= 2 * LEAST


@dataclass(frozen=True)
class History:
    """All cells of the runs of one machine.

    Attributes:
        runs: The runs, oldest first; one at least.
        series: In the order of the cells' first runs.
        left_out: Reason → cell → how many of its runs have no figure that counts.

    """

    runs: Sequence[Run]
    series: Sequence[Series]
    left_out: Mapping[str, Mapping[str, int]]


def trace(found: Iterable[Results], chosen: Callable[[Record], bool] = lambda _: True) -> History:
    """Put the runs of one machine in a row, and find where the level of a cell moved.

    Args:
        found: Runs of one machine, one at least, in any order.
        chosen: Which cells are asked for.

    Raises:
        ResultsError: ruptures is not installed.

    """
    ordered = sorted(found, key=lambda results: (results.run.date, results.run.id))
    runs = [*{results.run.id: results.run for results in ordered}.values()]
    points = [
        Point(results.run, record)
        for results in ordered for record in results.records if chosen(record) and not record.outcome.absent
    ]  # fmt: skip
    cells: dict[Any, list[Series]] = {}
    left_out: dict[str, dict[str, int]] = {}
    together = Results(_newest(runs), tuple(point.record for point in points))  # so that names tell all of them apart
    for point, (record, name) in zip(points, named(together), strict=True):
        if competes(record):
            device = platform_of(point.run.platform, record.device)
            _join(cells.setdefault((record.key, device), []), name, point)
        else:
            counts = left_out.setdefault(_unfit(record), {})
            counts[name] = counts.get(name, 0) + 1
    series = [one for of_cell in cells.values() for one in of_cell]
    for one in series:
        one.moves = _moves(one.points)
    return History(runs, series, left_out)


def _newest(runs: Sequence[Run]) -> Run:
    """The last header, with the titles of all."""
    models, frameworks = {}, {}
    for run in runs:
        models.update(run.titles.models)
        frameworks.update(run.titles.frameworks)
    return replace(runs[-1], titles=Titles(models=models, frameworks=frameworks))


def _join(of_cell: list[Series], name: str, point: Point) -> None:
    """Add a figure to the latest series that it compares with, or begin one. A run's last figure replaces another."""
    reasons = []
    for series in reversed(of_cell):
        last = series.points[-1]
        if not (reason := incomparable(last.record, point.record, here=True)):
            series.points[:] = [*(series.points[:-1] if last.run.id == point.run.id else series.points), point]
            return
        reasons.append(reason)
    of_cell.append(Series(name, reasons[0] if reasons else "", [point]))


def _unfit(record: Record) -> str:
    """Why a figure of a cell that ran is in no series."""
    if not record.outcome.right:
        return f"{record.outcome.upper()}, so no figure counts"
    if record.median is None:
        return "judged only, and not timed"
    if "implausible" in record.flags:
        return "implausible"
    return "a single sample has no interval; --inferena-processes=3 takes three"


def _moves(points: Sequence[Point]) -> list[Move]:
    figures = [(point.record.median, *point.record.interval) for point in points if point.record.interval]
    medians = [median for median, _, _ in figures if median]
    if len(medians) < len(points):
        return []  # a clock stood still
    places = moves(medians, [(low, high) for _, low, high in figures])
    ends = [0, *places, len(points)]
    return [
        Move(
            statistics.median(medians[low:place]), statistics.median(medians[place:high]),
            points[place - 1].run.id, points[place].run.id,
            _differ(points[place - 1].record.versions, points[place].record.versions),
            _differ(_others(points[place - 1]), _others(points[place])),
        )
        for low, place, high in zip(ends, places, ends[2:], strict=False)
    ]  # fmt: skip


def _differ(old: Mapping[str, str | None], new: Mapping[str, str | None]) -> list[str]:
    pairs = {name: (old.get(name) or "none", new.get(name) or "none") for name in {**old, **new}}
    return [clean(f"{name} {was} → {now}") for name, (was, now) in pairs.items() if was != now]


def _others(point: Point) -> dict[str, str | None]:
    """What a figure may depend on, beside the versions of the engine."""
    run, record = point
    return {
        "revision": record.revision,
        "adapter": (record.hashes.get("adapter") or "")[:8],
        "ran": record.ran,
        "verdict": record.outcome.upper(),
        "commit": run.commit,
        "Python": run.platform.python,
        "pytest-inferena": run.plugin,
        "system": run.platform.os,
        "driver": run.platform.driver,
    }
