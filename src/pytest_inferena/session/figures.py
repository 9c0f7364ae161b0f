"""What the samples of a cell say: their median, and how well it is known."""

from __future__ import annotations

import re
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_inferena.machine.devices import software
from pytest_inferena.results.resampling import medians
from pytest_inferena.worker.stats import median_interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_inferena.cell import Cell
    from pytest_inferena.results import Noise
    from pytest_inferena.verdict.gate import Verdict

    Replies = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Process:
    """What one process of an engine gave for a cell."""

    compiled: float
    """Seconds."""
    samples: list[float]
    """In seconds."""
    verdict: Verdict
    reply: Mapping[str, Any] | None = None
    """What the loop saw; None where nothing but compiling was measured."""
    noise: Noise | None = None
    """How quiet the machine was; None where nobody looked."""
    memory: int | str = 0
    """Bytes that it took at its peak, over what it took idle; or why nobody knows."""


def figures(samples: Sequence[Sequence[float]]) -> dict[str, Any]:
    """The median of the processes' medians, its 95 % interval (a single sample has none) and the samples, in seconds.

    Each process counts the same: one that was slowed down takes fewer samples in its time.

    Args:
        samples: those of each process.
    """
    median = statistics.median(map(statistics.median, samples))
    interval = bootstrap(samples) if len(samples) > 1 else median_interval(samples[0]) if samples[0][1:] else None
    return {"median": median, "samples": tuple(map(tuple, samples)), "interval": interval}


def bootstrap(samples: Sequence[Sequence[float]]) -> tuple[float, float]:
    """The interval that holds 95 % of the medians which other processes might have given.

    That of two to five processes reaches about from the least of their medians to the largest.

    Args:
        samples: those of each process, one at least; two processes at least.
    """
    low, high = np.percentile(medians(samples), [2.5, 97.5])
    return float(low), float(high)


def flags(replies: Replies, threads: int) -> tuple[str, ...]:
    """Reasons to doubt a figure: too few samples, or over 10 % more CPUs at work than the budget allows."""
    found = {
        "few": any(reply["few"] for reply in replies),
        "threads": any(reply["cpu_per_wall"] > 1.1 * threads for reply in replies),
    }
    return tuple(flag for flag, is_set in found.items() if is_set)


def loop_facts(replies: Replies) -> dict[str, Any]:
    """What the loop saw in the process in which most CPUs were busy, and what it was asked for; empty without one."""
    if not replies:
        return {}
    busiest = max(replies, key=lambda reply: reply["cpu_per_wall"])
    return {name: busiest[name] for name in ("cpu_per_wall", "warmups", "steps_per_sample", "loop")}


def on_cpu(device: str, ran: str) -> bool:
    """Whether an engine that was asked for another device says that the CPU did all of it."""
    return device != "cpu" and not software(ran) and re.search(r"\bcpu\b", ran, re.IGNORECASE) is not None


def device_flags(cell: Cell, compiled: Mapping[str, Any]) -> list[str]:
    """What a reader has to know of the device: the CPU may have done its work, or a part of it."""
    found = {"software": cell.device != "cpu" and software(compiled["ran"]), "fallback": compiled.get("fallback", 0)}
    return [flag for flag, is_set in found.items() if is_set]
