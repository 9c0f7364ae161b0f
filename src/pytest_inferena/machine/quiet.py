"""How quiet this machine is, in a number: by how much figures of the same work differ on it."""

from __future__ import annotations

import statistics
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_inferena.machine import counters
from pytest_inferena.machine.calibration import calibrate

if TYPE_CHECKING:
    from collections.abc import Callable

FIGURES, STEPS = 12, 25
"""So many figures are taken, each the median of so many kernels: that takes some five seconds."""


class Quiet(NamedTuple):
    """What was found."""

    resolvable: float
    """The share by which two figures of the same work differ at most in 19 of 20 pairs: a smaller one is noise."""
    rates: tuple[float, ...]
    """The figures, in MiB/s."""
    noise: dict[str, Any]
    """What the system counted meanwhile: fields of `Noise`."""


def listen(threads: int, kernel: Callable[[int], float] = calibrate) -> Quiet:
    """Take figures of the same work, one after the other, as cells do.

    Args:
        threads: a budget. The kernel runs on all of its CPUs.
        kernel: what is run.
    """
    load, before = counters.load(), counters.count(threads)
    rates = tuple(statistics.median(kernel(threads) for _ in range(STEPS)) for _ in range(FIGURES))
    noise = counters.between(before, counters.count(threads))
    apart = [max(pair) / min(pair) - 1 for pair in combinations(rates, 2)]
    return Quiet(
        statistics.quantiles(apart, n=20)[-1], rates, {**noise, "load": load, "frequency": counters.frequency(threads)}
    )
