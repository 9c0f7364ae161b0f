"""Tests of the gate's measure: how errors become a verdict, and what its message says."""

from __future__ import annotations

import numpy as np
import pytest
from tests.noise import normal, off

from pytest_inferena.verdict.gate import CLOSE, judge
from pytest_inferena.verdict.scale import SMALLEST


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("nrmse", "outcome"),
    [(0.0, "pass"), (9e-6, "pass"), (1.2e-5, "close"), (9.9e-3, "close"), (1.01e-2, "fail"), (1.0, "fail")],
)
def test_outcome_follows_from_the_error(seed: int, nrmse: float, outcome: str) -> None:
    """Below the floor passes, up to 1e-2 is close, the rest fails."""
    golden = normal(20, 100, seed=seed)

    verdict = judge({"output": golden}, {"output": 0.0}, {"output": off(golden, nrmse, seed + 9)})

    assert outcome == verdict.outcome
    assert verdict.nrmse == pytest.approx(nrmse, rel=1e-2, abs=1e-7)


@pytest.mark.parametrize(("shape", "multiple"), [((), 10), ((9,), 10), ((10,), 3), ((999,), 3), ((1000,), 2)])
def test_multiple_of_the_reference_depends_on_the_size(shape: tuple[int, ...], multiple: int) -> None:
    """Fewer elements scatter more, so that m is 2, 3 below 1000 and 10 below 10 elements."""
    golden = normal(*shape) + np.float32(3)

    verdict = judge({"output": golden}, {"output": 1e-4}, {"output": golden})

    assert multiple * 1e-4 == pytest.approx(verdict.limit)


@pytest.mark.parametrize(("name", "floor"), [("output", 1e-5), ("loss", 1e-5), ("grad:w", 1e-4)])
def test_floor_depends_on_the_kind(name: str, floor: float) -> None:
    """Gradients have a floor of their own."""
    golden = normal(2000)

    verdict = judge({name: golden}, {name: 1e-9}, {name: golden})

    assert floor == verdict.limit


def test_reference_may_be_a_tensor() -> None:
    """A tensor as reference counts like its NRMSE."""
    golden = normal(5000)

    verdict = judge({"output": golden}, {"output": off(golden, 1e-3)}, {"output": off(golden, 1.9e-3, 2)})

    assert "pass" == verdict.outcome
    assert (1e-3, 2e-3) == pytest.approx((verdict.reference, verdict.limit), rel=1e-2)


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 1e30])
def test_measure_is_relative(scale: float) -> None:
    """Zeros are wrong at any scale, and what is right is right at any scale."""
    golden = (normal(4000) * scale).astype(np.float32)

    right = judge({"output": golden}, {"output": 0.0}, {"output": golden})
    zeros = judge({"output": golden}, {"output": 0.0}, {"output": np.zeros_like(golden)})

    assert ("pass", "fail") == (right.outcome, zeros.outcome)
    assert zeros.nrmse == pytest.approx(1.0)


def test_gradients_zero_in_exact_arithmetic_do_not_fail() -> None:
    """A gradient far below the largest is measured in units of s."""
    golden = {"grad:big": normal(2000), "grad:zero": normal(2000, seed=1) * np.float32(1e-18)}
    result = golden | {"grad:zero": normal(2000, seed=2) * np.float32(2e-9)}

    verdict = judge(golden, dict.fromkeys(golden, 0.0), result)

    assert ("pass", "grad:zero") == (verdict.outcome, verdict.tensor)
    assert 2e-9 / SMALLEST == pytest.approx(verdict.nrmse, rel=0.1)


def test_gradients_above_s_are_measured_by_themselves() -> None:
    """A small but real gradient has to be right: zeros in its place fail."""
    golden = {"grad:big": normal(2000), "grad:small": normal(2000, seed=1) * np.float32(1e-3)}

    verdict = judge(golden, dict.fromkeys(golden, 0.0), golden | {"grad:small": np.zeros(2000, np.float32)})

    assert ("fail", "grad:small") == (verdict.outcome, verdict.tensor)


def test_kinds_have_scales_of_their_own() -> None:
    """A huge gradient does not excuse the loss or an output."""
    golden = {"loss": np.array(1e-3, np.float32), "output": normal(2000) * np.float32(1e-3)}
    golden |= {"grad:big": normal(2000) * np.float32(1e9)}

    for name in ("loss", "output"):
        verdict = judge(golden, dict.fromkeys(golden, 0.0), golden | {name: golden[name] * np.float32(1.5)})

        assert ("fail", name) == (verdict.outcome, verdict.tensor)
        assert verdict.nrmse == pytest.approx(0.5)


def test_worst_is_the_largest_share_of_its_limit() -> None:
    """Among tensors that pass, the one nearest to its own limit is named."""
    golden = {"grad:a": normal(2000), "grad:b": normal(2000, seed=1)}
    result = {"grad:a": off(golden["grad:a"], 8e-5), "grad:b": off(golden["grad:b"], 2e-4)}

    verdict = judge(golden, {"grad:a": 0.0, "grad:b": 1e-3}, result)

    assert ("pass", "grad:a", 2) == (verdict.outcome, verdict.tensor, verdict.tensors)


def test_failure_comes_before_a_larger_share() -> None:
    """A tensor that fails is named, although another is farther above its own limit."""
    golden = {"a": normal(2000), "b": normal(2000, seed=1)}
    result = {"a": off(golden["a"], 9e-3), "b": off(golden["b"], 3e-2)}

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


def test_message_counts_what_misses() -> None:
    """One tensor off or all of them is a different search."""
    golden = {f"grad:{i}": normal(2000, seed=i) for i in range(5)}
    result = golden | {f"grad:{i}": off(golden[f"grad:{i}"], 0.1) for i in range(3)}

    assert "3 of 5 tensors miss their limits" in judge(golden, dict.fromkeys(golden, 0.0), result).message


def test_explanation_shows_the_figures() -> None:
    """Lines for pytest: verdict, tensor, limits, reference, index, loss."""
    golden = {"loss": np.array(10.0, np.float32), "grad:w": normal(2000)}
    result = {"loss": np.array(10.05, np.float32), "grad:w": off(golden["grad:w"], 0.5)}

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
    golden = {"loss": np.array(10.0, np.float32), "grad:w": normal(2000)}

    verdict = judge(golden, dict.fromkeys(golden, 1e-7), golden | {"grad:w": normal(2000, seed=3)})

    assert ("fail", 10.0, 10.0) == (verdict.outcome, verdict.loss, verdict.loss_golden)
