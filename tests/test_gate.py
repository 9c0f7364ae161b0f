from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from pytest_inferena.gate import CLOSE, SMALLEST, judge


def _normal(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _off(golden: Any, nrmse: float, seed: int = 1) -> Any:
    """A tensor at this NRMSE from golden."""
    noise = np.random.default_rng(seed).standard_normal(golden.shape)
    scale = nrmse * np.sqrt(np.mean(np.square(golden, dtype=float)) / np.mean(noise**2))
    return (golden + scale * noise).astype(np.float32)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("nrmse", "outcome"),
    [(0.0, "pass"), (9e-6, "pass"), (1.2e-5, "close"), (9.9e-3, "close"), (1.01e-2, "fail"), (1.0, "fail")],
)
def test_outcome_follows_from_the_error(seed: int, nrmse: float, outcome: str) -> None:
    """Below the floor passes, up to 1e-2 is close, the rest fails."""
    golden = _normal(20, 100, seed=seed)

    verdict = judge({"output": golden}, {"output": 0.0}, {"output": _off(golden, nrmse, seed + 9)})

    assert outcome == verdict.outcome
    assert verdict.nrmse == pytest.approx(nrmse, rel=1e-2, abs=1e-7)


@pytest.mark.parametrize(("shape", "multiple"), [((), 10), ((9,), 10), ((10,), 3), ((999,), 3), ((1000,), 2)])
def test_multiple_of_the_reference_depends_on_the_size(shape: tuple[int, ...], multiple: int) -> None:
    """Fewer elements scatter more, so that m is 2, 3 below 1000 and 10 below 10 elements."""
    golden = _normal(*shape) + np.float32(3)

    verdict = judge({"output": golden}, {"output": 1e-4}, {"output": golden})

    assert multiple * 1e-4 == pytest.approx(verdict.limit)


@pytest.mark.parametrize(("name", "floor"), [("output", 1e-5), ("loss", 1e-5), ("grad:w", 1e-4)])
def test_floor_depends_on_the_kind(name: str, floor: float) -> None:
    """Gradients have a floor of their own."""
    golden = _normal(2000)

    verdict = judge({name: golden}, {name: 1e-9}, {name: golden})

    assert floor == verdict.limit


def test_reference_may_be_a_tensor() -> None:
    """A tensor as reference counts like its NRMSE."""
    golden = _normal(5000)

    verdict = judge({"output": golden}, {"output": _off(golden, 1e-3)}, {"output": _off(golden, 1.9e-3, 2)})

    assert "pass" == verdict.outcome
    assert (1e-3, 2e-3) == pytest.approx((verdict.reference, verdict.limit), rel=1e-2)


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 1e30])
def test_measure_is_relative(scale: float) -> None:
    """Zeros are wrong at any scale, and what is right is right at any scale."""
    golden = (_normal(4000) * scale).astype(np.float32)

    right = judge({"output": golden}, {"output": 0.0}, {"output": golden})
    zeros = judge({"output": golden}, {"output": 0.0}, {"output": np.zeros_like(golden)})

    assert ("pass", "fail") == (right.outcome, zeros.outcome)
    assert zeros.nrmse == pytest.approx(1.0)


def test_gradients_zero_in_exact_arithmetic_do_not_fail() -> None:
    """A gradient far below the largest is measured in units of s."""
    golden = {"grad:big": _normal(2000), "grad:zero": _normal(2000, seed=1) * np.float32(1e-18)}
    result = golden | {"grad:zero": _normal(2000, seed=2) * np.float32(2e-9)}

    verdict = judge(golden, dict.fromkeys(golden, 0.0), result)

    assert ("pass", "grad:zero") == (verdict.outcome, verdict.tensor)
    assert 2e-9 / SMALLEST == pytest.approx(verdict.nrmse, rel=0.1)


def test_gradients_above_s_are_measured_by_themselves() -> None:
    """A small but real gradient has to be right: zeros in its place fail."""
    golden = {"grad:big": _normal(2000), "grad:small": _normal(2000, seed=1) * np.float32(1e-3)}

    verdict = judge(golden, dict.fromkeys(golden, 0.0), golden | {"grad:small": np.zeros(2000, np.float32)})

    assert ("fail", "grad:small") == (verdict.outcome, verdict.tensor)


def test_kinds_have_scales_of_their_own() -> None:
    """A huge gradient does not excuse the loss or an output."""
    golden = {"loss": np.array(1e-3, np.float32), "output": _normal(2000) * np.float32(1e-3)}
    golden |= {"grad:big": _normal(2000) * np.float32(1e9)}

    for name in ("loss", "output"):
        verdict = judge(golden, dict.fromkeys(golden, 0.0), golden | {name: golden[name] * np.float32(1.5)})

        assert ("fail", name) == (verdict.outcome, verdict.tensor)
        assert verdict.nrmse == pytest.approx(0.5)


def test_worst_is_the_largest_share_of_its_limit() -> None:
    """Among tensors that pass, the one nearest to its own limit is named."""
    golden = {"grad:a": _normal(2000), "grad:b": _normal(2000, seed=1)}
    result = {"grad:a": _off(golden["grad:a"], 8e-5), "grad:b": _off(golden["grad:b"], 2e-4)}

    verdict = judge(golden, {"grad:a": 0.0, "grad:b": 1e-3}, result)

    assert ("pass", "grad:a", 2) == (verdict.outcome, verdict.tensor, verdict.tensors)


def test_failure_comes_before_a_larger_share() -> None:
    """A tensor that fails is named, although another is farther above its own limit."""
    golden = {"a": _normal(2000), "b": _normal(2000, seed=1)}
    result = {"a": _off(golden["a"], 9e-3), "b": _off(golden["b"], 3e-2)}

    verdict = judge(golden, {"a": 0.0, "b": 8e-3}, result)

    assert ("fail", "b") == (verdict.outcome, verdict.tensor)


def test_worst_index_and_values_are_in_the_message() -> None:
    """The message says where to look, and what stands there."""
    golden = np.ones((3, 4), np.float32)
    result = golden.copy()
    result[2, 1] = 7

    verdict = judge({"output": golden}, {"output": 0.0}, {"output": result})

    assert (2, 1) == verdict.index
    assert "output has NRMSE 1.7e+00, limit 1.0e-05" in verdict.message
    assert "worst at [2, 1]: 7 instead of 1" in verdict.message


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
    golden = {"grad:w": _normal(4), "grad:unused": None}

    verdict = judge(golden, {"grad:w": 0.0}, {"grad:w": golden["grad:w"], "grad:unused": given})
    missing = judge(golden, {"grad:w": 0.0}, {"grad:w": golden["grad:w"]})

    assert ("pass", "pass") == (verdict.outcome, missing.outcome)


@pytest.mark.parametrize("value", [1e-30, np.nan])
def test_gradient_that_does_not_exist_may_not_be_anything_else(value: float) -> None:
    """Not even a little."""
    golden = {"grad:w": _normal(4), "grad:unused": None}
    result = {"grad:w": golden["grad:w"], "grad:unused": np.array([0, value], np.float32)}

    verdict = judge(golden, {"grad:w": 0.0}, result)

    assert ("fail", "grad:unused") == (verdict.outcome, verdict.tensor)


def test_extra_none_is_nothing() -> None:
    """A result may say of a parameter that it has no gradient."""
    golden = _normal(4)

    assert "pass" == judge({"o": golden}, {"o": 0.0}, {"o": golden, "grad:w": None}).outcome


@pytest.mark.parametrize("given", [0.0, 1e-30])
def test_golden_of_zeros_wants_zeros(given: float) -> None:
    """Where all of a kind is zero there is no scale, and anything else is infinitely wrong."""
    verdict = judge({"o": np.zeros(20, np.float32)}, {"o": 0.0}, {"o": np.full(20, given, np.float32)})

    assert ("fail" if given else "pass") == verdict.outcome
    assert json.loads(json.dumps(verdict.to_record(), allow_nan=False))


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
        verdict.to_record()["index"],
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
        judge({"o": _normal(3)}, {"o": 0.0}, {"o": _normal(3)}, dtype="bfloat16")


@pytest.mark.parametrize(
    ("golden", "reference", "message"),
    [
        ({}, {}, "nothing to judge"),
        ({"o": np.array([1, np.nan], np.float32)}, {"o": 0.0}, "golden tensor o is not finite"),
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
    golden = _normal(40, 50).T
    result = golden.copy()
    result[49, 3] += 9

    assert (49, 3) == judge({"o": golden}, {"o": 0.0}, {"o": result}).index


def test_message_counts_what_misses() -> None:
    """One tensor off or all of them is a different search."""
    golden = {f"grad:{i}": _normal(2000, seed=i) for i in range(5)}
    result = golden | {f"grad:{i}": _off(golden[f"grad:{i}"], 0.1) for i in range(3)}

    assert "3 of 5 tensors miss their limits" in judge(golden, dict.fromkeys(golden, 0.0), result).message


def test_explanation_shows_the_figures() -> None:
    """Lines for pytest: verdict, tensor, limits, reference, index, loss."""
    golden = {"loss": np.array(10.0, np.float32), "grad:w": _normal(2000)}
    result = {"loss": np.array(10.05, np.float32), "grad:w": _off(golden["grad:w"], 0.5)}

    lines = "\n".join(judge(golden, {"loss": 1e-7, "grad:w": 1e-6}, result).explain())

    for text in (
        "fail: grad:w",
        "the worst of 2",
        "5.00e-01",
        "1.00e-04",
        f"{CLOSE:.0e}",
        "1.00e-06",
        "index",
    ):
        assert text in lines
    assert "loss: 10.05 against 10: within 1 %, which alone proves nothing" in lines


def test_loss_alone_never_suffices() -> None:
    """The right loss beside wrong gradients fails."""
    golden = {"loss": np.array(10.0, np.float32), "grad:w": _normal(2000)}

    verdict = judge(golden, dict.fromkeys(golden, 1e-7), golden | {"grad:w": _normal(2000, seed=3)})

    assert ("fail", 10.0, 10.0) == (verdict.outcome, verdict.loss, verdict.loss_golden)


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
