"""What changed from one run to another: verdicts, and medians whose intervals do not overlap."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

from tabulate import tabulate

from pytest_inferena.cell import Key, Outcome
from pytest_inferena.report.names import named
from pytest_inferena.report.texts import clean, note_text, short_text
from pytest_inferena.results import Record, Results

REGRESSIONS = ("slower", "worse", "gone")
SHARED = ("program", "weights", "inputs")
"""The hashes that two figures share if they are of the same work."""


@dataclass(frozen=True)
class Change:
    """One cell in both runs.

    Attributes:
        cell: Model, engine and metric, for display.
        metric: The metric.
        kind: `slower` or `faster` (by more than the threshold, intervals apart), `worse` or `better` (of verdicts),
            `gone`, `new`, `incomparable`, or `same`.
        old: What the cell said, "" where it was not there.
        new: What it says now.
        ratio: New median by old one, where both count.
        reason: Why it is incomparable, or what is wrong with it now.
        sure: Of `slower` and `faster`: the share of bootstrapped pairs of medians that differ by more than that.

    """

    cell: str
    metric: str
    kind: str
    old: str
    new: str
    ratio: float | None
    reason: str
    sure: float | None = None


def compare(
    old: Results, new: Results, threshold: float, of_metrics: Mapping[str, float] = MappingProxyType({})
) -> list[Change]:
    """Compare cell by cell, in the new run's order; those that are gone come last.

    Args:
        old: What was.
        new: What is.
        threshold: By what share a median has to differ, beside intervals that lie apart.
        of_metrics: The same for some metrics.

    """
    before, after = ({record.key: record for record in results.records} for results in (old, new))
    here = old.run.platform.is_same(new.run.platform)
    names = {record.key: name for side in (old, new) for record, name in named(side)}
    pairs = [(before.get(key), after.get(key)) for key in (*after, *(key for key in before if key not in after))]
    return [_change(names, old, new, threshold, of_metrics, here=here) for old, new in pairs]


def render(changes: list[Change], *, everything: bool = False) -> str:
    """Render a table of what changed, or of all cells, and how many there are of each kind."""
    kinds = [change.kind for change in changes]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(sorted(kinds)))
    shown = [change for change in changes if everything or change.kind != "same"]
    rows = [[change.cell, change.old, change.new, _word(change)] for change in shown]
    reasons = [f"{change.cell}: {change.reason}" for change in shown if change.reason]
    table = tabulate(rows, ["Cell", "Old", "New", ""], tablefmt="simple", disable_numparse=True) if rows else ""
    return "\n\n".join(filter(None, [table, "\n".join(reasons), f"{len(changes)} cells: {counts or 'none'}"])) + "\n"


def to_json(changes: list[Change]) -> list[dict[str, Any]]:
    """The changes as JSON values."""
    return [asdict(change) for change in changes]


def _word(change: Change) -> str:
    sure = "" if change.sure is None else f", {surely(change.sure)}"
    return change.kind if change.ratio is None else f"{change.ratio - 1:+.1%} {change.kind}{sure}"


def surely(share: float) -> str:
    """How sure something is, in words; nothing is without doubt."""
    return f"{share:.0%} sure" if share < 0.995 else "over 99% sure"


def _change(  # noqa: PLR0913 - both sides, and all that tells what is a change
    names: Mapping[Key, str], old: Record | None, new: Record | None, threshold: float,
    of_metrics: Mapping[str, float], *, here: bool,
) -> Change:  # fmt: skip
    cell = new or old
    assert cell is not None  # noqa: S101 - one of them is there
    threshold = of_metrics.get(cell.metric, threshold)
    texts = [short_text(record) if record else "" for record in (old, new)]
    ratio, reason, sure = None, note_text(new) if new else "", None
    if old is None or new is None:
        kind = "new" if old is None else "gone"
    elif (step := _rank(new) - _rank(old)) or _rank(new) > 1:
        kind = "worse" if step > 0 else "better" if step else "same"
    else:
        kind, ratio, reason = "same", _ratio(old, new), ""
        if ratio is not None and (reason := incomparable(old, new, here=here)):
            kind, ratio = "incomparable", None
        elif ratio is not None and abs(ratio - 1) > threshold and _apart(old, new):
            kind = "slower" if ratio > 1 else "faster"
            sure = _sure(old, new, threshold)
    return Change(names[cell.key], cell.metric, kind, texts[0], texts[1], ratio, reason, sure)


def _rank(record: Record) -> int:
    """How bad an outcome is, from 0 on. What broke or is missing is worse than CLOSE and better than FAIL."""
    if record.outcome.right:
        return int(record.outcome is Outcome.CLOSE)
    return 3 if record.outcome is Outcome.FAIL else 2


def _ratio(old: Record, new: Record) -> float | None:
    """The quotient of the medians; None where one was not timed."""
    return new.median / old.median if old.median and new.median else None


def incomparable(old: Record, new: Record, *, here: bool) -> str:
    """Why the figures of two records of one cell do not compare; empty where they do."""
    if not here:
        return "measured on different machines"
    for kind in SHARED:
        hashes = old.hashes.get(kind), new.hashes.get(kind)
        if None not in hashes and hashes[0] != hashes[1]:
            return f"not the same {kind}: {clean(str(hashes[0])[:8])}, now {clean(str(hashes[1])[:8])}"
    return "" if old.interval and new.interval else "a single sample has no interval"


def _apart(old: Record, new: Record) -> bool:
    """Whether the intervals of the medians do not overlap."""
    (low, high), (lower, higher) = old.interval or (0, 0), new.interval or (0, 0)
    return high < lower or higher < low


def _sure(old: Record, new: Record, threshold: float) -> float:
    """The share of pairs of bootstrapped medians that differ by more, in the direction of the figures."""
    from pytest_inferena.results.resampling import SEED, medians  # numpy, which no other report needs

    ratios = medians(new.samples, SEED + 1) / medians(old.samples)
    beyond = ratios > 1 + threshold if new.median > old.median else ratios < 1 - threshold  # type: ignore[operator] # timed
    return float(beyond.mean())
