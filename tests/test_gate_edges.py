"""Tests of the gate where nothing is to be measured: tensors missing, of another type, empty, zero, strided, lazy."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from tests.noise import normal

from pytest_inferena.results import plain
from pytest_inferena.verdict.gate import judge


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({}, "output is missing"),
        ({"output": np.ones((2, 6), np.float32)}, "output has shape [2, 6] instead of [3, 4]"),
        ({"output": np.ones((1, 3, 4), np.float32)}, "output has shape [1, 3, 4] instead of [3, 4]"),
        ({"output": np.ones((3, 4), np.float16)}, "output is float16 instead of float32"),
        ({"output": np.ones((3, 4), np.float64)}, "output is float64 instead of float32"),
        ({"output": np.full((3, 4), np.nan, np.float32)}, "output has nan at [0, 0]"),
        ({"output": np.full((3, 4), -np.inf, np.float32)}, "output has -inf at [0, 0]"),
        (
            {"output": np.ones((3, 4), np.float32), "more": np.ones(1, np.float32)},
            "more is not a tensor of this entry",
        ),
    ],
)
def test_what_cannot_be_measured_fails(result: dict[str, Any], message: str) -> None:
    """Missing, extra, of another shape or type, not finite: each in plain words."""
    verdict = judge({"output": np.ones((3, 4), np.float32)}, {"output": 0.0}, result)

    assert ("fail", message, None) == (verdict.outcome, verdict.message, verdict.nrmse)


def test_bfloat16_is_named() -> None:
    """A type that NumPy has not is named as its file names it."""
    given = np.zeros(4, np.dtype("V2", metadata={"name": "bfloat16"}))

    verdict = judge({"output": np.ones(4, np.float32)}, {"output": 0.0}, {"output": given})

    assert "output is bfloat16 instead of float32" == verdict.message


@pytest.mark.parametrize("given", [None, np.zeros(3, np.float32), np.zeros((), np.float32)])
def test_gradient_that_does_not_exist_may_be_zero(given: Any) -> None:
    """Missing, None and all zeros are the same for a gradient that golden has not."""
    golden = {"grad:w": normal(4), "grad:unused": None}

    verdict = judge(golden, {"grad:w": 0.0}, {"grad:w": golden["grad:w"], "grad:unused": given})
    missing = judge(golden, {"grad:w": 0.0}, {"grad:w": golden["grad:w"]})

    assert ("pass", "pass") == (verdict.outcome, missing.outcome)


@pytest.mark.parametrize("value", [1e-30, np.nan])
def test_gradient_that_does_not_exist_may_not_be_anything_else(value: float) -> None:
    """Not even a little."""
    golden = {"grad:w": normal(4), "grad:unused": None}
    result = {"grad:w": golden["grad:w"], "grad:unused": np.array([0, value], np.float32)}

    verdict = judge(golden, {"grad:w": 0.0}, result)

    assert ("fail", "grad:unused") == (verdict.outcome, verdict.tensor)


def test_extra_none_is_nothing() -> None:
    """A result may say of a parameter that it has no gradient."""
    golden = normal(4)

    assert "pass" == judge({"o": golden}, {"o": 0.0}, {"o": golden, "grad:w": None}).outcome


@pytest.mark.parametrize(("given", "outcome"), [(0.0, "pass"), (1e-8, "pass"), (1e-6, "close"), (1e-3, "fail")])
def test_golden_of_zeros_wants_zeros(given: float, outcome: str) -> None:
    """Where all of a kind is zero, what float32 leaves of numbers that cancel is right, and no more."""
    verdict = judge({"o": np.zeros(20, np.float32)}, {"o": 0.0}, {"o": np.full(20, given, np.float32)})

    assert outcome == verdict.outcome
    assert json.loads(json.dumps(plain(verdict.figures()), allow_nan=False))


def test_empty_tensor_passes() -> None:
    """No elements, no error."""
    empty = np.zeros((0, 3), np.float32)

    verdict = judge({"o": empty}, {"o": 0.0}, {"o": empty})

    assert ("pass", 0.0, None) == (verdict.outcome, verdict.nrmse, verdict.index)


def test_scalar_has_an_empty_index() -> None:
    """A loss is off at (), which JSON has as []."""
    verdict = judge({"loss": np.array(2, np.float32)}, {"loss": 0.0}, {"loss": np.array(3, np.float32)})

    assert ((), [], 3.0, 2.0) == (
        verdict.index,
        plain(verdict.figures())["index"],
        verdict.loss,
        verdict.loss_golden,
    )


@pytest.mark.parametrize(("given", "outcome"), [([1, 2, 3], "pass"), ([1, 2, 4], "fail")])
def test_integers_have_to_be_equal(given: list[int], outcome: str) -> None:
    """There is no token that is nearly another, however large its number."""
    golden = np.array([1, 2, 3], np.int64) + 10**15

    verdict = judge({"ids": golden}, {}, {"ids": np.array(given, np.int64) + 10**15})

    assert outcome == verdict.outcome


def test_integers_of_another_type_fail() -> None:
    """Declared is declared."""
    verdict = judge({"ids": np.arange(3, dtype=np.int64)}, {}, {"ids": np.arange(3, dtype=np.int32)})

    assert ("fail", "ids is int32 instead of int64") == (verdict.outcome, verdict.message)


def test_other_dtypes_are_refused() -> None:
    """Until they are calibrated, with what is."""
    with pytest.raises(ValueError, match="not calibrated for bfloat16: ask for one of float32"):
        judge({"o": normal(3)}, {"o": 0.0}, {"o": normal(3)}, dtype="bfloat16")


@pytest.mark.parametrize(
    ("golden", "reference", "message"),
    [
        ({}, {}, "nothing to judge"),
        ({"o": np.array([-np.inf, np.nan], np.float32)}, {"o": 0.0}, "golden tensor o is not finite"),
        ({"o": np.full(2, 1e200)}, {"o": 0.0}, "golden tensor o is not finite"),
        ({"o": np.ones(2, np.float32)}, {}, "reference has nothing for o"),
        ({"o": np.ones(2, np.float32)}, {"o": np.nan}, "reference of o is not finite"),
        (
            {"o": np.ones(2, np.float32)},
            {"o": np.full(2, np.inf, np.float32)},
            "reference of o is not finite",
        ),
    ],
)
def test_broken_measure_is_an_error(golden: Any, reference: Any, message: str) -> None:
    """What is wrong on our side is not the engine's failure, and never its success."""
    with pytest.raises(ValueError, match=message):
        judge(golden, reference, {"o": np.ones(2, np.float32)})


def test_largest_floats_do_not_overflow() -> None:
    """The figures of float32's largest values are right, and zeros fail there too."""
    golden = np.full(2000, np.finfo(np.float32).max)

    verdict = judge({"o": golden}, {"o": 0.0}, {"o": -golden})

    assert ("fail", 2.0) == (verdict.outcome, verdict.nrmse)


def test_strided_tensors_are_indexed_as_they_are() -> None:
    """A transposed view is judged by its own indices."""
    golden = normal(40, 50).T
    result = golden.copy()
    result[49, 3] += 9

    assert (49, 3) == judge({"o": golden}, {"o": 0.0}, {"o": result}).index


class _Lazy(Mapping[str, Any]):
    """Makes tensors when asked, and counts how many live at once."""

    alive = 0
    most = 0

    class _Counted(np.ndarray):
        def __del__(self) -> None:
            if self.base is None or not isinstance(self.base, _Lazy._Counted):
                _Lazy.alive -= 1

    def __getitem__(self, name: str) -> Any:
        if name not in "abcd":
            raise KeyError(name)
        _Lazy.alive += 1
        _Lazy.most = max(_Lazy.most, _Lazy.alive)
        return np.ones(100, np.float32).view(_Lazy._Counted)

    def __iter__(self) -> Iterator[str]:
        return iter("abcd")

    def __len__(self) -> int:
        return 4


def test_one_tensor_of_each_is_held() -> None:
    """Lazy mappings are read one name at a time."""
    verdict = judge(_Lazy(), dict.fromkeys("abcd", 0.0), _Lazy())

    assert "pass" == verdict.outcome
    assert _Lazy.most <= 3
