"""How well a handful of durations is known to lie around its median. Workers use it: standard library only."""

from collections.abc import Sequence
from functools import lru_cache

COVERED = 6
"""The range of this many samples, or more, covers the median at 95 %."""


def median_interval(samples: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """The interval that covers the true median, whatever distribution the samples come from.

    It lies between two order statistics. The number of samples below the true median is binomial with p = 1/2.
    So the k-th smallest and the k-th largest sample enclose it with a probability that depends only on k and on
    the number of samples (Conover, Practical Nonparametric Statistics, section 3.2).

    Args:
        samples: At least one value, in any order and any unit.
        confidence: The least probability of covering the median, between 0 and 1, both excluded.

    Returns:
        (low, high) in the unit of the samples: the narrowest such interval. It is (min, max) where even these do
        not reach the confidence: at 95 %, with fewer than `COVERED` samples.

    Raises:
        ValueError: There are no samples, or the confidence is not a probability.

    """
    if not samples:
        raise ValueError("no samples, so no interval: measure at least once")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; it must lie between 0 and 1, such as 0.95")
    ordered = sorted(samples)
    rank = _rank(len(ordered), confidence)
    return ordered[rank], ordered[-1 - rank]


@lru_cache(maxsize=1024)
def _rank(count: int, confidence: float) -> int:
    """How many samples may be cut off at each end. Integers never under- or overflow, however many samples."""
    rank, term, tail = 0, 1, 1  # tail: outcomes, of 2 ** count, with at most `rank` samples below the median
    while True:
        term = term * (count - rank) // (rank + 1)
        tail += term
        if 2 * tail / 2**count > 1 - confidence:
            return rank
        rank += 1
