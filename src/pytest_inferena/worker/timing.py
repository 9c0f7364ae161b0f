"""The one timing loop: every engine's steps are warmed up, timed and counted here."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_inferena.worker.stats import median_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_inferena.worker.adapter import Step

SECOND = 1_000_000_000
BATCH = SECOND // 1000
"""Steps shorter than this are timed in batches of about this length, in ns."""


@dataclass(frozen=True)
class Loop:
    """How long to measure; the defaults are the method page's."""

    min_rounds: int = 10
    max_rounds: int = 100
    max_time: float = 10.0
    """Seconds after which `min_rounds` samples are enough."""
    give_up: float = 30.0
    """Seconds after which `few` samples are enough."""
    few: int = 3
    precision: float = 0.01
    """Half width of the median's 95 % interval at which to stop, relative to it."""
    warmup: bool = True

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Loop:
        """From the fields a `measure` request names."""
        return cls(**document)


@dataclass(frozen=True)
class Timing:
    """What the loop saw; times in ns."""

    samples: list[float]
    """One step each, or the mean step of a batch."""
    steps_per_sample: int
    warmups: int
    few: bool
    cpu_per_wall: float
    """CPU seconds of the process per wall second while timing: the threads that really worked."""


def measure(step: Step, loop: Loop, clock: Callable[[], int] = time.monotonic_ns) -> Timing:
    """Warm a step up, then time it until its median is known well enough.

    Args:
        step: run and synchronised by this loop alone.
        loop: when to stop.
        clock: monotonic nanoseconds.
    """
    warmups, shortest = _warm_up(step, clock) if loop.warmup else (0, _once(step, 1, clock))
    batch = 1 if shortest >= BATCH else max(1, round(BATCH / max(shortest, 1)))
    samples: list[float] = []
    start, cpu = clock(), time.process_time_ns()
    while True:
        samples.append(_once(step, batch, clock) / batch)
        elapsed = clock() - start
        if _enough(samples, elapsed / SECOND, loop):
            break
    cpu_per_wall = (time.process_time_ns() - cpu) / max(clock() - start, 1)
    return Timing(samples, batch, warmups, len(samples) < loop.min_rounds, cpu_per_wall)


def _once(step: Step, batch: int, clock: Callable[[], int]) -> int:
    """Nanoseconds of a batch of steps, synchronised once at its end."""
    begin = clock()
    for _ in range(batch):
        step()
    step.synchronize()
    return clock() - begin


def _warm_up(step: Step, clock: Callable[[], int]) -> tuple[int, int]:
    """At least 3 steps and 0.2 s, at most 5 s; one where a step takes over 2 s. Steps and the shortest, ns."""
    start = clock()
    durations = [_once(step, 1, clock)]
    while durations[-1] <= 2 * SECOND and (len(durations) < 3 or clock() - start < SECOND // 5):
        durations.append(_once(step, 1, clock))
        if clock() - start > 5 * SECOND:
            break
    return len(durations), min(durations)


def _enough(samples: list[float], elapsed: float, loop: Loop) -> bool:
    """Whether to stop after `elapsed` seconds."""
    if len(samples) >= max(loop.max_rounds, loop.min_rounds):
        return True
    if len(samples) < loop.min_rounds:
        return elapsed > loop.give_up and len(samples) >= loop.few
    if elapsed >= loop.max_time:
        return True
    low, high = median_interval(samples)
    return (high - low) / 2 <= loop.precision * statistics.median(samples)
