"""What changed from one run to another: verdicts, and medians whose intervals do not overlap."""

from dataclasses import asdict, dataclass
from typing import Any

from tabulate import tabulate

from pytest_inferena.cell import Key, Outcome
from pytest_inferena.report.names import labels_of, title_of
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
        kind: `slower` or `faster` (by more than the threshold, intervals apart), `worse` or `better` (of verdicts),
            `gone`, `new`, `incomparable`, or `same`.
        old: What the cell said, "" where it was not there.
        new: What it says now.
        ratio: New median by old one, where both count.
        reason: Why it is incomparable, or what is wrong with it now.

    """

    cell: str
    kind: str
    old: str
    new: str
    ratio: float | None
    reason: str


def compare(old: Results, new: Results, threshold: float) -> list[Change]:
    """Compare cell by cell, in the new run's order; those that are gone come last.

    Args:
        old: What was.
        new: What is.
        threshold: By what share a median has to differ, beside intervals that lie apart.

    """
    before, after = ({record.key: record for record in results.records} for results in (old, new))
    here = old.run.platform.id == new.run.platform.id
    names = {**_names(old), **_names(new)}
    return [
        _change(names[key], before.get(key), after.get(key), threshold, here=here)
        for key in (*after, *(key for key in before if key not in after))
    ]


def render(changes: list[Change], *, everything: bool = False) -> str:
    """Render a table of what changed, or of all cells, and how many there are of each kind."""
    kinds = [change.kind for change in changes]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(sorted(kinds)))
    shown = [change for change in changes if everything or change.kind != "same"]
    rows = [[c.cell, c.old, c.new, c.kind if c.ratio is None else f"{c.ratio - 1:+.1%} {c.kind}"] for c in shown]
    reasons = [f"{change.cell}: {change.reason}" for change in shown if change.reason]
    table = tabulate(rows, ["Cell", "Old", "New", ""], tablefmt="simple", disable_numparse=True) if rows else ""
    return "\n\n".join(filter(None, [table, "\n".join(reasons), f"{len(changes)} cells: {counts or 'none'}"])) + "\n"


def to_json(changes: list[Change]) -> list[dict[str, Any]]:
    """The changes as JSON values."""
    return [asdict(change) for change in changes]


def _names(results: Results) -> dict[Key, str]:
    labels = labels_of(results)
    titles = {}
    for record in results.records:
        titles[record.key] = f"{title_of(results.run, record.work)}, {labels[record.engine]}, {clean(record.metric)}"
    return titles


def _change(cell: str, old: Record | None, new: Record | None, threshold: float, *, here: bool) -> Change:
    texts = [short_text(record) if record else "" for record in (old, new)]
    ratio, reason = None, note_text(new) if new else ""
    if old is None or new is None:
        kind = "new" if old is None else "gone"
    elif (step := _rank(new) - _rank(old)) or _rank(new) > 1:
        kind = "worse" if step > 0 else "better" if step else "same"
    else:
        kind, ratio, reason = "same", _ratio(old, new), ""
        if ratio is not None and (reason := _incomparable(old, new, here=here)):
            kind, ratio = "incomparable", None
        elif ratio is not None and abs(ratio - 1) > threshold and _apart(old, new):
            kind = "slower" if ratio > 1 else "faster"
    return Change(cell, kind, texts[0], texts[1], ratio, reason)


def _rank(record: Record) -> int:
    """How bad an outcome is, from 0 on. What broke or is missing is worse than CLOSE and better than FAIL."""
    if record.outcome.right:
        return int(record.outcome is Outcome.CLOSE)
    return 3 if record.outcome is Outcome.FAIL else 2


def _ratio(old: Record, new: Record) -> float | None:
    """The quotient of the medians; None where one was not timed."""
    return new.median / old.median if old.median and new.median else None


def _incomparable(old: Record, new: Record, *, here: bool) -> str:
    if not here:
        return "measured on different machines"
    for kind in SHARED:
        hashes = old.hashes.get(kind), new.hashes.get(kind)
        if None not in hashes and hashes[0] != hashes[1]:
            return f"not the same {kind}: {clean(str(hashes[0])[:8])}, now {clean(str(hashes[1])[:8])}"
    return ""


def _apart(old: Record, new: Record) -> bool:
    """Whether the intervals of the medians do not overlap. A single sample has none, and so is never apart."""
    if not old.interval or not new.interval:
        return False
    return old.interval[1] < new.interval[0] or new.interval[1] < old.interval[0]
