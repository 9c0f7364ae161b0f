"""The one timing loop: it warms up, times and counts every engine's steps.

docs/worker-protocol.md specifies it; tests/timing_vectors.json holds the loops of all languages to that.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_inferena.worker.stats import COVERED, median_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_inferena.worker.adapter import Step

SECOND = 1_000_000_000
BATCH = SECOND // 1000
"""Steps shorter than this are timed in batches of about this length, in ns."""
LONGEST_BATCH = 1000
"""The most steps in a batch: a step of less than 1 µs counts as 1 µs."""
OVERRUN = SECOND
"""In ns. A batch that takes longer is not noise: the step was fast only during warm-up."""


@dataclass(frozen=True)
class Loop:
    """How long to measure. The defaults are those of docs/worker-protocol.md."""

    min_rounds: int = 10
    max_rounds: int = 100
    """Stop after so many samples, or after `min_rounds` where that is more."""
    max_time: float = 10.0
    """Seconds after which `min_rounds` samples are enough."""
    give_up: float = 30.0
    """Seconds after which `few` samples are enough."""
    few: int = 3
    precision: float = 0.01
    """Stop when both ends of the median's 95 % interval lie within this share of the median."""
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
    """Steps before the first sample."""
    few: bool
    cpu_per_wall: float
    """CPU seconds of all threads of the process per wall second while timing: how many threads really worked."""


def measure(step: Step, loop: Loop, clock: Callable[[], int] = time.monotonic_ns) -> Timing:
    """Warm a step up, then time it until its median is known well enough.

    Args:
        step: run and synchronised by this loop alone.
        loop: when to stop.
        clock: monotonic nanoseconds.
    """
    first = _warm_up(step, clock) if loop.warmup else []
    warmups, batch = len(first), _batch(statistics.median(first[-3:])) if first else 1
    samples: list[float] = []
    cpu, start = time.process_time_ns(), clock()
    while True:
        duration = _once(step, batch, clock)
        samples.append(duration / batch)
        if batch > 1 and duration > OVERRUN:  # start over with smaller batches, on the same clock
            warmups += batch * len(samples)
            batch, samples = min(batch - 1, _batch(samples[-1])), []
        elif _enough(samples, (clock() - start) / SECOND, loop):
            break
    cpu_per_wall = (time.process_time_ns() - cpu) / max(clock() - start, 1)
    return Timing(samples, batch, warmups, len(samples) < loop.min_rounds, cpu_per_wall)


def _once(step: Step, batch: int, clock: Callable[[], int]) -> int:
    """Nanoseconds of a batch of steps, with one synchronisation at its end."""
    begin = clock()
    for _ in range(batch):
        step()
    step.synchronize()
    return clock() - begin


def _warm_up(step: Step, clock: Callable[[], int]) -> list[int]:
    """Nanoseconds of each warm-up step: at least 3 steps and 0.2 s, ended early by a step of over 2 s.

    So no step begins after 5 s: the first two take at most 4 s, and later ones begin within 0.2 s only.
    """
    start = clock()
    durations = [_once(step, 1, clock)]
    while durations[-1] <= 2 * SECOND and (len(durations) < 3 or clock() - start < SECOND // 5):
        durations.append(_once(step, 1, clock))
    return durations


def _batch(duration: float) -> int:
    """How many steps of a duration make a sample."""
    return 1 if duration >= BATCH else min(LONGEST_BATCH, round(BATCH / max(duration, 1)))


def _enough(samples: list[float], elapsed: float, loop: Loop) -> bool:
    """Whether to stop after `elapsed` seconds."""
    if len(samples) >= max(loop.max_rounds, loop.min_rounds):
        return True
    if len(samples) < loop.min_rounds:
        return elapsed >= loop.give_up and len(samples) >= loop.few
    return elapsed >= loop.max_time or _precise(samples, loop.precision)


def _precise(samples: list[float], precision: float) -> bool:
    """Whether the median's 95 % interval lies within ± precision of it. Fewer than 6 samples have no interval."""
    low, high = median_interval(samples)
    median = statistics.median(samples)
    return len(samples) >= COVERED and max(high - median, median - low) <= precision * median
