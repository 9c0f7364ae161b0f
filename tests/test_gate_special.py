"""The gate where a difference says nothing: infinities, no numbers, and choices that float32 cannot decide."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_inferena.verdict.gate import judge

INF, NAN = np.inf, np.nan


@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        ([-INF, NAN, INF, 1, 2], "pass"),
        ([INF, NAN, INF, 1, 2], "fail"),
        ([NAN, NAN, INF, 1, 2], "fail"),
        ([-INF, INF, INF, 1, 2], "fail"),
        ([-INF, 0, INF, 1, 2], "fail"),
        ([-3e38, NAN, INF, 1, 2], "fail"),
        ([-INF, NAN, INF, NAN, 2], "fail"),
        ([-INF, NAN, INF, 1, -2], "fail"),
    ],
)
def test_what_is_not_finite_is_equal_to_itself(given: list[float], outcome: str) -> None:
    """An infinity of the other sign is not, nor is a large number, and the others are measured as ever."""
    golden = np.array([-INF, NAN, INF, 1, 2], np.float32)

    verdict = judge({"o": golden}, {"o": 0.0}, {"o": np.array(given, np.float32)})

    assert outcome == verdict.outcome
    if outcome == "pass":
        assert "3 of 5 values of o are not finite, as in golden" in verdict.message


def test_infinities_do_not_hide_an_error() -> None:
    """The scale is that of the finite values alone."""
    golden = np.array([-INF] * 1000 + [1e-3] * 10, np.float32)
    wrong = np.array([-INF] * 1000 + [2e-3] * 10, np.float32)

    verdict = judge({"o": golden}, {"o": 0.0}, {"o": wrong})

    assert "fail" == verdict.outcome
    assert pytest.approx(1) == verdict.nrmse


TIES = [[2, 7], [2, 9], [4, 0]]


@pytest.mark.parametrize(
    ("given", "outcome", "message"),
    [
        ([0, 1, 2, 3, 4, 5], "pass", ""),
        ([0, 1, 9, 3, 0, 5], "pass", "2 of 6 values of ids are another choice where float32 cannot decide"),
        ([0, 1, 8, 3, 4, 5], "fail", "ids differs in 1 of 6 values, at [0, 2]: 8 instead of 2"),
        ([0, 7, 2, 3, 4, 5], "fail", "ids differs in 1 of 6 values, at [0, 1]: 7 instead of 1"),
        ([0, 1, 7, 3, 4, 6], "fail", "ids differs in 1 of 6 values, at [1, 2]: 6 instead of 5"),
    ],
)
def test_ties_are_told_and_pass(given: list[int], outcome: str, message: str) -> None:
    """Another value, or another place, is wrong as ever."""
    golden = np.arange(6).reshape(2, 3)
    result = np.array(given).reshape(2, 3)

    verdict = judge({"ids": golden}, {"ids": TIES}, {"ids": result})

    assert outcome == verdict.outcome
    assert message in verdict.message


def test_tie_of_a_single_boolean() -> None:
    """A scalar has one place."""
    golden = np.array(True)

    assert "fail" == judge({"b": golden}, {}, {"b": ~golden}).outcome
    assert "pass" == judge({"b": golden}, {"b": [[0, 0]]}, {"b": ~golden}).outcome
