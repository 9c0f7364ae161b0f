"""What float32 cannot decide is a tie, and what it decides is none; errors that rounding does not explain are told."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.numpy import load_file
from tests.test_exact import net, normal

from pytest_inferena.prepare import reference
from pytest_inferena.prepare.rounding import second_opinion
from pytest_inferena.verdict.gate import judge

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

NEAR = normal(5, 4)
NEAR[3] = NEAR[1] * (1 + 2e-7)  # nearly the same row twice
LARGEST = torch.stack([NEAR[1] * 2, -NEAR[1], normal(4)])  # row 0 chooses 1 or 3, row 1 anything but these


def found(function: Callable[[Tensor], Tensor], x: Tensor, folder: Path) -> tuple[Any, Any]:
    """Golden's integers, and which of their elements have another choice."""
    case = net(function, x)
    case.module.forward = function
    facts = reference.write_golden(case, "inference", folder)
    return load_file(folder / "golden-inference.safetensors")["output"], facts["tensors"].get("output", [])


def test_nearly_equal_scores_are_a_tie(tmp_path: Path) -> None:
    """Either index passes, a third one fails, and so does either index where the choice is clear."""
    golden, ties = found(lambda x: (x @ NEAR.T).argmax(-1), LARGEST, tmp_path)
    passes = []
    for row, index in itertools.product(range(3), range(5)):
        given = golden.copy()
        given[row] = index
        if index != golden[row] and judge({"o": golden}, {"o": ties}, {"o": given}).outcome == "pass":
            passes.append((row, index))

    assert [(0, 4 - golden[0])] == passes


@pytest.mark.parametrize("order", [torch.argsort, lambda x: x.topk(4)[1], lambda x: torch.sort(x, -1)[1]], ids=range(3))
def test_equals_may_stand_in_any_order(order: Any, tmp_path: Path) -> None:
    """Where a sort is not said to be stable."""
    golden, ties = found(lambda x: order(x.relu()), torch.tensor([[-1.0, 2.0, -3.0, 4.0]]), tmp_path)

    assert {0, 2} == {value for _, value in ties}
    assert {0, 2} == {int(golden[0, at]) for at, _ in ties}


def test_equals_of_a_stable_sort_have_their_order(tmp_path: Path) -> None:
    """And so has the first of several largest values."""
    x = torch.tensor([[-1.0, 2.0, -3.0, 2.0]])

    assert [] == found(lambda x: torch.sort(x.relu(), stable=True)[1], x, tmp_path)[1]
    assert [] == found(lambda x: x.relu().argmax(-1), x, tmp_path)[1]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: (x @ (x.T / 3) * 0 + 0.5 + (x @ x.T - x @ x.T.clone())).round().long(),
        lambda x: (x @ torch.tensor([1 / 3, -1 / 3])[:, None].repeat(1, 2)) > 0,
        lambda x: ((x / 3).sum(-1) - x.sum(-1) / 3 + 2).floor().int(),
    ],
    ids=["round", "threshold", "floor"],
)
def test_sides_of_a_threshold_that_cancel_are_ties(function: Any, tmp_path: Path) -> None:
    """A rounding, a comparison or a floor of what is on the edge but for rounding errors."""
    golden, ties = found(function, torch.tensor([[0.7, 0.7], [0.1, 0.1]]), tmp_path)

    assert ties
    assert all(abs(int(golden.reshape(-1)[at]) - value) == 1 for at, value in ties)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.float().long(),
        lambda x: (x.float() * 0.5).floor().long(),
        lambda x: (x.float() * 2).round().int() // 3,
        lambda x: torch.where(x > 2, x.float(), 0.0) > 0,
        lambda x: torch.nn.functional.one_hot(x).float().cumsum(0).long(),
        lambda x: torch.bucketize(x.float(), torch.tensor([1.0, 3.0])),
    ],
    ids=range(6),
)
def test_what_float32_holds_exactly_is_no_tie(function: Any, tmp_path: Path) -> None:
    """Integers that pass through float32, and thresholds that lie on them."""
    _, ties = found(function, torch.tensor([0, 1, 2, 3, 5]), tmp_path)

    assert [] == ties


def test_clear_choices_are_no_ties(tmp_path: Path) -> None:
    """Of many scores without any that are near each other."""
    golden, ties = found(lambda x: (x @ normal(8, 64)).argsort(-1), normal(4, 8), tmp_path)

    assert len(ties) < golden.size / 50


def test_error_that_rounding_explains_stays(tmp_path: Path) -> None:
    """A sine of large numbers is chaos in float32, whoever computes it."""
    case = net(lambda x: ((x @ normal(4, 4)) * 1e4).sin(), normal(8, 4))

    facts = reference.write_golden(case, "inference", tmp_path)

    assert 1e-3 < facts["tensors"]["output"]
    assert [] == facts["notes"]


def test_error_of_a_kernel_is_told_and_gives_no_leeway() -> None:
    """Otherwise everybody would pass who is as wrong as PyTorch's float32."""
    right = {"o": normal(100).double(), "p": normal(50).double()}
    errors = {"o": 0.3, "p": 1e-7}

    notes = second_opinion(errors, right, lambda turn: {k: x * (1 + (turn + 1) * 1e-6) for k, x in right.items()})

    assert pytest.approx(2e-6, rel=1e-3) == errors["o"]
    assert 1e-7 == errors["p"]
    assert 1 == len(notes)
    assert "float32 leaves float64 in o by 3.0e-01, where rounding moves it by 2.0e-06" in notes[0]
