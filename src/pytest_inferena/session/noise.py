"""Noise: the machine is calibrated before and after a cell, and a cell between which it changed is measured again."""

from __future__ import annotations

import statistics
import time
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from pytest_inferena.machine import counters
from pytest_inferena.machine.calibration import calibrate
from pytest_inferena.results import Noise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

LEAST = 0.03
"""The share by which shared machines differ from themselves when nothing happens."""
TIMES = 3
"""How many times its usual difference a calibration may differ by."""
DEVIATION = 1.4826
"""A normal distribution's standard deviation, where the median of the distances from its centre is 1."""
FIRST = 9
"""Calibrations at the beginning of a run, which tell how much it differs from itself."""
AGAIN = 2
"""How often a cell is measured again."""

LOOK, PATIENCE = 0.005, 0.5
"""Seconds from one look at a worker to the next, and for how long it is waited for."""
IDLE = 0.1
"""The share of a CPU below which it sleeps."""

Found = TypeVar("Found")


class Calibrations:
    """Those of a run, on the CPUs of its thread budget."""

    def __init__(self, threads: int, kernel: Callable[[int], float] = calibrate) -> None:
        self._threads, self._kernel = threads, partial(kernel, threads)
        self._moves: list[float] = []

    @property
    def limit(self) -> float:
        """The share by which the calibrations around a cell may differ: more than three times is no accident."""
        return max(LEAST, TIMES * DEVIATION * statistics.median(self._moves))

    def watch(self, measure: Callable[[], Found], process: int, again: int = AGAIN) -> tuple[Found, Noise]:
        """Measure between two calibrations, and again while these differ too much.

        Args:
            measure: it is measured as often as that.
            process: number of the process that works meanwhile.
            again: how often it may be measured again.

        Returns:
            what the quietest measurement gave, and how quiet it was.
        """
        if not self._moves:
            settle(process)
            self._moves = [max(pair) / min(pair) - 1 for pair in pairwise(self._kernel() for _ in range(FIRST))]
        tries = [self._once(measure, process)]
        while tries[-1][1].noisy and len(tries) <= again:
            tries.append(self._once(measure, process))
        found, noise = min(tries, key=lambda one: one[1].moved)
        self._moves.append(noise.moved)
        return found, replace(noise, repeated=len(tries) - 1)

    def _once(self, measure: Callable[[], Found], process: int) -> tuple[Found, Noise]:
        settle(process)
        load, early = counters.load(), self._kernel()
        before = counters.count(self._threads, process)
        found = measure()
        after, frequency = counters.count(self._threads, process), counters.frequency(self._threads)
        counted = counters.between(before, after)
        settle(process)
        around = early, self._kernel()
        return found, Noise(calibration=around, limit=self.limit, load=load, frequency=frequency, **counted)


def settle(process: int) -> None:
    """Wait until a process sleeps. Threads of some engines spin for a while after a step: that is no noise."""
    until, used = time.monotonic() + PATIENCE, counters.worked(process)
    while used is not None and time.monotonic() < until:
        time.sleep(LOOK)
        before, used = used, counters.worked(process)
        if used is not None and used - before < IDLE * LOOK * 1e9:
            return


def noisiest(found: Iterable[Noise | None]) -> Noise | None:
    """That of the processes of a cell in which the machine changed most; all that were measured again are counted."""
    known = [one for one in found if one is not None]
    if not known:
        return None
    worst = max(known, key=lambda noise: noise.moved / noise.limit)
    return replace(worst, repeated=sum(noise.repeated for noise in known))
