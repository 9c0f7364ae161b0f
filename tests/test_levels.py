"""Tests of change points: rare where nothing changed, and at the right run where something did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pytest_inferena.results.levels import moves

if TYPE_CHECKING:
    from collections.abc import Sequence

SERIES = 200
LEVELS = [0.100, 0.101, 0.099, 0.100, 0.110, 0.111, 0.109, 0.110]
"""Two levels of four runs."""


def found(medians: Sequence[float], half: float = 0.005) -> list[int]:
    """Where levels begin; `half` is half an interval, as a share."""
    return moves([*map(float, medians)], [(median * (1 - half), median * (1 + half)) for median in medians])


def noisy(generator: np.random.Generator, count: int, *, wild: bool) -> Any:
    """Runs at one level with 2 % noise; where they are wild every tenth is slower, by a quarter on average."""
    slower = np.abs(generator.normal(0, 0.3, count)) * (generator.random(count) < 0.1)
    return np.exp(generator.normal(0, 0.02, count) + wild * slower)


@pytest.mark.parametrize(("count", "wild"), [(20, False), (20, True), (6, False), (10, False), (40, False)])
def test_noise_is_no_change_point(count: int, wild: bool) -> None:
    """Of unchanged code under 5 % of series have one, however long they are, and if some runs are wild."""
    generator = np.random.default_rng(18)
    false = sum(bool(found(noisy(generator, count, wild=wild))) for _ in range(SERIES))

    assert false < 0.05 * SERIES


def test_a_step_is_found() -> None:
    """One of 10 %, with 2 % noise and three runs at least on each side, is found at its run in over 90 % of series."""
    generator = np.random.default_rng(19)
    right = 0
    for _ in range(SERIES):
        medians, place = noisy(generator, 20, wild=False), int(generator.integers(3, 18))
        medians[place:] *= generator.choice([1.1, 1 / 1.1])
        right += [place] == found(medians)

    assert right > 0.9 * SERIES


@pytest.mark.parametrize(
    ("medians", "half", "expected"),
    [
        (LEVELS, 0.005, [4]),
        ([*LEVELS, 0.100, 0.101, 0.099], 0.005, [4, 8]),
        (LEVELS[:5], 0.005, []),  # too few
        (LEVELS[:6], 0.005, []),  # too few on one side
        (LEVELS[1:7], 0.005, [3]),
        (LEVELS, 0.2, []),  # each run says that it is known no better
        ([0.1, 0.1, 0.1, 0.1, 0.11, 0.11, 0.11, 0.1], 0.005, []),  # intervals of the levels meet
        ([0.1, 0.1, 0.1, 0.3, 0.1, 0.1, 0.1, 0.1], 0.005, []),  # one wild run
        ([0.1, 0.1, 0.1, 0.3, 0.3, 0.1, 0.1, 0.1], 0.005, []),  # two
        ([0.1] * 8, 0.0, []),
    ],
)
def test_levels(medians: list[float], half: float, expected: list[int]) -> None:
    """A level has three runs, and its interval lies apart from those of the levels beside it."""
    assert expected == found(medians, half)
