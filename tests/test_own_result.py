"""A result's figures, and when one is slower than another: by what surely differs, not by luck."""

from __future__ import annotations

import math
import random
import statistics
from typing import Any

import pytest
from tests.records import make_record

from pytest_inferena import Outcome, Result
from pytest_inferena.session.own import ROUNDS

PAIRS = 400


def pair(luck: random.Random, factor: float) -> tuple[Result, Result]:
    """Two engines in turns on a machine that drifts by half, and now and then does something else for a round.

    Args:
        luck: the noise.
        factor: how much longer the first one takes.
    """
    mine, its = [], []
    for turn in range(ROUNDS):
        weather = 1 + turn / 2 / ROUNDS
        mine.append(factor * weather * luck.lognormvariate(0, 0.03) * luck.choice([1] * 19 + [5]))
        its.append(weather * luck.lognormvariate(0, 0.03) * luck.choice([1] * 19 + [5]))
    first, second = (
        Result(make_record(median=statistics.median(rounds)), rounds=tuple(rounds)) for rounds in (mine, its)
    )
    return first, second


@pytest.mark.parametrize(("factor", "by", "least", "most"), [(1, 0, 0, 0.05), (1.1, 0.1, 0, 0.05), (1.3, 0.1, 0.9, 1)])
def test_slower_by_what_surely_differs(factor: float, by: float, least: float, most: float) -> None:
    """Equal engines, and one that is slower by just as much as it may be, hardly ever fail; a slower one does."""
    luck = random.Random(1)  # noqa: S311 - noise
    slower = [first.slower_than(second, by=by) for first, second in (pair(luck, factor) for _ in range(PAIRS))]

    assert least <= statistics.mean(slower) <= most


def test_results_that_were_measured_apart() -> None:
    """Their intervals have to be apart by more than the share that does not count."""
    one = Result(make_record(median=2.0, interval=[1.9, 2.1], samples=[[1.9, 2.1]]))
    other = Result(make_record(median=1.0, interval=[0.9, 1.1], samples=[[0.9, 1.1]]))

    assert one.slower_than(other)
    assert one.slower_than(other, by=0.7)
    assert not one.slower_than(other, by=0.8)  # 1.9 / 1.1 is 1.73
    assert not other.slower_than(one)


def test_what_was_not_judged_has_no_figures() -> None:
    """They are NaN, so that no comparison with them is true; an engine that lacks something is not right."""
    none: dict[str, Any] = {"median": None, "interval": None, "samples": [], "verdict": None}
    result = Result(make_record("inference", outcome="unsupported", reason="no rows", **none))
    figures = (result.median, *result.interval, result.nrmse, result.limit, result.loss)

    assert all(math.isnan(figure) for figure in figures)
    assert (False, Outcome.UNSUPPORTED, "") == (result.right, result.outcome, result.verdict)
    assert ({}, {}) == (dict(result.outputs), dict(result.gradients))
    assert "<unet-alpha-main-inference: UNSUPPORTED, no rows>" == repr(result)
