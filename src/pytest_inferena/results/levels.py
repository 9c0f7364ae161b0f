"""Where a row of figures goes from one level to another: change points, found by ruptures."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np

from pytest_inferena.results.reading import ResultsError
from pytest_inferena.worker.stats import median_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    Interval = tuple[float, float]

LEAST = 3
"""Figures that a level has at least: one wild figure, or two, are none."""
PENALTY = 3 * math.sqrt(math.pi / 8)
"""What a change point has to save, by log(figures). Zhang and Siegmund's modified BIC asks for three times the
logarithm, of twice the log-likelihood; sqrt(π / 8) of that is what absolute deviations from a median save, if they are
normal."""
NORMAL = 1.96
"""Half a 95 % interval of a normal distribution, in standard deviations."""
QUARTILE = 0.6745
"""The median of what a normal distribution deviates by, in standard deviations."""


def moves(medians: Sequence[float], intervals: Sequence[Interval]) -> list[int]:
    """The places at which a new level begins.

    PELT finds them (Killick, Fearnhead and Eckley, 2012) in the logarithms of the figures, by absolute deviations from
    each level's median, so that single wild figures weigh little. One counts where the 95 % intervals of both levels'
    medians lie apart too; of several that do not, the nearest is dropped first, which joins its two levels.

    Args:
        medians: positive figures, in their order.
        intervals: the 95 % interval of each: no figure is taken to be known better than these say.

    Raises:
        ResultsError: ruptures is not installed.
    """
    try:
        from ruptures import Pelt
    except ImportError as error:
        raise ResultsError(
            "ruptures, which finds change points, is not installed: pip install 'pytest-inferena[history]'"
        ) from error
    if len(medians) < 2 * LEAST:
        return []
    logs = np.log(medians)
    found = Pelt(model="l1", min_size=LEAST, jump=1).fit_predict(
        logs / _deviation(logs, intervals), PENALTY * math.log(len(logs))
    )
    places = [0, *map(int, found)]
    while len(places) > 2:
        gaps = [_gap(medians[low:place], medians[place:high]) for low, place, high in _triples(places)]
        if min(gaps) > 0:
            break
        del places[1 + gaps.index(min(gaps))]
    return places[1:-1]


def _triples(places: Sequence[int]) -> list[tuple[int, int, int]]:
    return list(zip(places, places[1:], places[2:], strict=False))


def _gap(before: Sequence[float], after: Sequence[float]) -> float:
    """How far the intervals of two levels' medians lie apart, as a logarithm; not positive where they overlap."""
    (low, high), (lower, higher) = median_interval(before), median_interval(after)
    return math.log(max(lower / high, low / higher))


def _deviation(logs: np.ndarray, intervals: Sequence[Interval]) -> float:
    """The standard deviation of figures on one level, as logarithms: a step hardly changes the median difference."""
    between = np.median([abs(new - old) for old, new in itertools.pairwise(logs)]) / QUARTILE / math.sqrt(2)
    within = np.median([math.log(high / low) / 2 / NORMAL if high > low > 0 else 0.0 for low, high in intervals])
    return max(float(between), float(within), np.finfo(float).eps)
