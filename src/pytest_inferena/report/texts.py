"""What a table says of a record: the text, its marks, and the words of its note."""

import math
import re
from dataclasses import dataclass

from pytest_inferena.cell import Outcome
from pytest_inferena.results import Record

_SCALES = {"compile": ("s", 1.0), "inference": ("ms", 1e3), "latency": ("ms", 1e3), "training": ("ms", 1e3)}
_DOUBTS = ("software", "fallback", "few", "threads", "noisy", "implausible", "xpass")

MISSING = "·"
ABSENT = "—"
BROKEN = "✗"
CLOSE = "≈"
JOINT = "†"
PUBLISHED = "°"


@dataclass(frozen=True)
class Text:
    """What a table shows in one place, before any format dresses it.

    Attributes:
        text: What it shows.
        best: It is the best of its column, or cannot be told from it.
        struck: The result is wrong, so the figure does not count.
        note: The number of the note below the table that explains it.

    """

    text: str
    best: bool = False
    struck: bool = False
    note: int | None = None


def clean(text: str) -> str:
    r"""Make foreign text one line of printable characters; controls and the like become escapes (`\x1b`)."""
    line = " ".join(text.split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def number(value: float) -> str:
    """Write a number with three significant digits, all digits from 1000 on: 0.842, 9.12, 232, 1 208."""
    rounded = float(f"{value:.3g}")
    if not rounded or abs(rounded) < 1e-3:
        return scientific(value) if rounded else "0"
    if abs(rounded) >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    return f"{rounded:.{max(0, 2 - math.floor(math.log10(abs(rounded))))}f}"


def scientific(value: float) -> str:
    """Write an error figure with two significant digits: 2.1e-6, 1e-5, 0.98, 1.4."""
    if 0.01 <= abs(value) < 100:
        return f"{value:.2g}"
    digits, _, exponent = f"{value:.1e}".partition("e")
    return f"{digits.removesuffix('.0')}e{int(exponent)}" if value else "0"


def counted(runs: int) -> str:
    """Write how many runs: 1 run, 2 runs."""
    return f"{runs} run{'s' * (runs != 1)}"


def display(metric: str, unit: str) -> tuple[str, float]:
    """Give the unit a metric is shown in, and the factor from the one it is recorded in."""
    return _SCALES.get(metric, (unit, 1.0))


def heading(metric: str, unit: str) -> str:
    """Head a metric's column, with the unit it is shown in."""
    name = metric.capitalize().replace("_", " ")
    return f"{name} ({display(metric, unit)[0]})"


def figure(record: Record) -> str:
    """Write a median in its metric's unit, and half its interval in % where it has one: `232 ±0.8 %`."""
    median, interval = record.median, record.interval
    if median is None:
        return ""
    text = number(median * _SCALES.get(record.metric, ("", 1.0))[1])
    if interval is None or not median:
        return text
    spread = (interval[1] - interval[0]) / 2 / median * 100
    return f"{text} ±{spread:.{1 if spread < 9.95 else 0}f} %"


def short_text(record: Record | None) -> str:
    """Say in as little as possible what became of a cell."""
    if record is None:
        return MISSING
    outcome = record.outcome
    if outcome.absent:
        return ABSENT
    if outcome.right:
        shown = figure(record) or "ok"  # judged without timing
        shown += JOINT if record.extra.get("entry") == "joint" else ""
        return f"{CLOSE} {shown}" if outcome is Outcome.CLOSE else shown
    if outcome is Outcome.PUBLISHED:
        return f"{figure(record) or ABSENT}{PUBLISHED}"
    return (outcome.judged and figure(record)) or BROKEN


def is_struck(record: Record) -> bool:
    """Tell whether a figure is there that does not count, because the result is wrong."""
    return record.outcome is Outcome.FAIL and record.median is not None


def is_there(record: Record) -> bool:
    """Tell whether the engine is installed; one that is not has no row, and is counted below."""
    return record.outcome is not Outcome.NOT_INSTALLED


def competes(record: Record) -> bool:
    """Tell whether a figure can be the best: right, plausible, and with an interval of several samples."""
    return (
        record.outcome.right
        and record.median is not None
        and record.interval is not None
        and len(record.durations) > 1
        and "implausible" not in record.flags
    )


def note_text(record: Record) -> str:
    """Explain whatever is not a plain pass; empty for that."""
    parts = []
    if record.outcome is not Outcome.PASS:
        verdict = record.verdict
        reason = clean(record.reason or (verdict.message if verdict else "")) or "no reason was recorded"
        parts.append(f"{record.outcome.upper().replace('_', ' ')}: {reason}{_accuracy(record, reason)}")
        # what somebody else published was judged by them: there is no worker here to ask where it goes wrong
        if verdict is not None and record.outcome in {Outcome.CLOSE, Outcome.FAIL}:
            parts.append(f"where: {clean(record.explain)}")
    parts += [_doubt(record, flag) for flag in _DOUBTS if flag in record.flags]
    if record.attempts:
        parts.append(f"{len(record.attempts)} attempts: {', '.join(record.attempts).upper()}")
    return "; ".join(parts)


def _doubt(record: Record, flag: str) -> str:
    if flag == "software":
        return f"software: {clean(record.ran)} is no GPU"
    if flag == "fallback":
        return f"fallback: the CPU ran {record.extra.get('fallback', 'some')} of its operators"
    if flag == "few":
        return f"few: only {len(record.durations)} samples"
    if flag == "threads":
        return f"threads: {record.extra.get('cpu_per_wall', 0):.2f} CPUs were busy, the budget is {record.threads}"
    if flag == "noisy" and record.noise:
        times = "" if record.metric == "compile" else f", in each of {record.noise.repeated + 1} measurements"
        moved, limit = (f"{share:.1%}" for share in (record.noise.moved, record.noise.limit))
        return f"noisy: the machine's speed before and after it differs by {moved}, more than {limit}{times}"
    if flag == "implausible" and record.flop and record.median and record.peak:
        rate, peak = number(record.flop / 1e9 / record.median), number(record.peak)
        return f"implausible: {rate} GFLOP/s, where a product of matrices reaches {peak}"
    if flag == "xpass":
        return "xpass: right, though a known issue is declared, so its test fails"
    return flag


def loss_text(record: Record | None) -> str:
    """Write the framework's own training loss with four decimals."""
    if record is None:
        return MISSING
    verdict = record.verdict
    if verdict is None or verdict.loss is None:
        return MISSING if record.outcome.right else ABSENT
    return f"{verdict.loss:.4f}"


def _accuracy(record: Record, reason: str) -> str:
    verdict = record.verdict
    if verdict is None or verdict.nrmse is None or re.search("nrmse", reason, re.IGNORECASE):
        return ""
    limit = f" of limit {scientific(verdict.limit)}" if verdict.limit is not None else ""
    tensor = f" on {clean(verdict.tensor)}" if verdict.tensor else ""
    return f" (NRMSE {scientific(verdict.nrmse)}{limit}{tensor})"
