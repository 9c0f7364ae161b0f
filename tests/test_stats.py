"""Tests of the interval of the median."""

import random
from statistics import median

import pytest

from pytest_inferena.worker.stats import median_interval


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_samples_give_their_range(count: int) -> None:
    """Below six samples no 95 % interval exists, so the whole range is given."""
    samples = [float(value) for value in range(count, 0, -1)]

    assert (1.0, float(count)) == median_interval(samples)


@pytest.mark.parametrize(
    ("count", "low", "high"), [(6, 1, 6), (8, 1, 8), (9, 2, 8), (10, 2, 9), (20, 6, 15), (100, 40, 61)]
)
def test_ranks_are_those_of_the_tables(count: int, low: int, high: int) -> None:
    """The ranks are those that published tables of the sign test give for 95 %."""
    samples = list(range(1, count + 1))
    random.Random(1).shuffle(samples)  # noqa: S311

    assert (low, high) == median_interval(samples)


def test_coverage_is_kept_for_a_skewed_distribution() -> None:
    """At least 95 % of intervals cover the true median, also where durations have a long tail."""
    source = random.Random(2)  # noqa: S311
    hits = 0
    for _ in range(2000):
        low, high = median_interval([source.lognormvariate(0, 1) for _ in range(15)])
        hits += low <= 1 <= high

    assert hits / 2000 > 0.945


def test_more_confidence_is_never_narrower() -> None:
    """An interval of 99 % encloses that of 50 %, and both enclose the samples' own median."""
    samples = [float(value**2) for value in range(30)]
    wide, narrow = median_interval(samples, 0.99), median_interval(samples, 0.5)

    assert wide[0] < narrow[0] <= median(samples) <= narrow[1] < wide[1]


def test_many_samples_do_not_overflow() -> None:
    """Counts beyond what a float's exponent can hold work."""
    assert (4901, 5099) == median_interval(range(10_001))


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0])
def test_confidence_must_be_a_probability(confidence: float) -> None:
    """Percent instead of a probability is an error that gives an example."""
    with pytest.raises(ValueError, match=r"such as 0\.95"):
        median_interval([1.0], confidence)


def test_no_samples_are_an_error() -> None:
    """Nothing measured has no interval."""
    with pytest.raises(ValueError, match="measure at least once"):
        median_interval([])
