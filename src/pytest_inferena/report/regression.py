"""The gate of regressions: which changes since a base make a run fail, decided by intervals."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pytest_inferena.cell import METRICS
from pytest_inferena.ranges import RangeError, number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_inferena.report.compare import Change
    from pytest_inferena.results import Results

USUAL = 0.05
"""By what share a median has to differ to be told, where no rule says it."""
FORM = "write METRIC>N%, with commas between several, and verdict for what is wrong now"


@dataclass(frozen=True)
class Rules:
    """What makes a run fail.

    Attributes:
        slower: Metric → the share by which a median may be larger.
        verdict: Whether a worse outcome does.

    """

    slower: Mapping[str, float] = field(default_factory=dict)
    verdict: bool = False

    @classmethod
    def parse(cls, text: str) -> Rules:
        """Parse such as `inference>5%,training>5%,verdict`.

        Raises:
            ValueError: A rule has another form, an unknown metric, or no positive number.

        """
        slower = {}
        words = [word.strip() for word in text.split(",")]
        for word in words:
            if word == "verdict":
                continue
            metric, _, least = (part.strip() for part in word.partition(">"))
            if metric not in METRICS:
                raise ValueError(f"{word!r} is no rule: {FORM}; metrics are {', '.join(METRICS)}")
            try:
                slower[metric] = number(metric, least.removesuffix("%") if "%" in least else "", 1000, "") / 100
            except RangeError:
                raise ValueError(f"{word[:40]!r} is no rule: {FORM}; N is over 0 and at most 1000") from None
        return cls(slower, "verdict" in words)

    def broken(self, changes: list[Change]) -> list[str]:
        """A sentence for each change that makes a run fail, and for each cell that a rule cannot be applied to."""
        return [sentence for change in changes if (sentence := self._sentence(change))]

    def _sentence(self, change: Change) -> str:
        if change.kind == "worse" and self.verdict:
            return f"verdict: {change.cell} got worse: {change.reason or change.new}"
        from pytest_inferena.report.compare import surely

        least = self.slower.get(change.metric)
        if least is None:
            return ""
        rule = f"{change.metric}>{least * 100:g}%"
        if change.kind == "slower":
            return f"{rule}: {change.cell} is {(change.ratio or 0) - 1:.1%} slower, {surely(change.sure or 0)}"
        if change.kind == "incomparable":
            return f"{rule}: {change.cell} cannot be compared: {change.reason}"
        if change.kind == "same" and change.ratio is None and not change.reason:
            return f"{rule}: {change.cell} cannot be compared: one of the two was judged only, and not timed"
        return ""


def judge(base: Results, head: Results, rules: Rules) -> tuple[str, list[str]]:
    """Compare the cells that a run has with those of a base.

    Returns:
        What changed, as text, and a sentence for each broken rule.

    """
    from pytest_inferena.report.compare import compare, render

    here = {record.key for record in head.records}
    base = replace(base, records=tuple(record for record in base.records if record.key in here))
    changes = compare(base, head, USUAL, rules.slower)
    return render(changes), rules.broken(changes)
