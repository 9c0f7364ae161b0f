"""Tests of the canonical spelling: every rule by itself, on what it makes and on what that computes."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest
import torch
import torch.nn.functional as F
from tests.programs import captured, operators_behind, run
from tests.spellings import CASES, Inputs
from torch import Tensor, nn

from pytest_inferena.program.graph import NotExportable

if TYPE_CHECKING:
    from tests.spellings import Function

    from pytest_inferena.worker.format import Entry


def inputs() -> dict[str, Tensor]:
    """The same to every test."""
    draw = torch.Generator().manual_seed(0)
    integers = torch.arange(24).reshape(2, 3, 4) - 3
    images = torch.randn(2, 4, 6, 8, generator=draw)
    return {"x": torch.randn(2, 3, 4, generator=draw), "i": integers, "m": images}


class Family(nn.Module):
    """Functions side by side, so that one export serves them all."""

    def __init__(self, functions: list[Function]) -> None:
        super().__init__()
        self.functions = functions

    def forward(self, x: Tensor, i: Tensor, m: Tensor) -> tuple[Tensor, ...]:
        """Every function's result."""
        return tuple(function(Inputs(x, i, m)) for function in self.functions)


@functools.cache
def results(family: str) -> tuple[Entry, dict[str, Tensor], dict[str, Tensor]]:
    """The family's entry, what the entry computes, and what the functions do."""
    torch.set_num_threads(1)
    module = Family([function for function, _ in CASES[family].values()])
    entry = captured(module, inputs(), *CASES[family])
    return entry, run(entry, module, inputs()), dict(zip(CASES[family], module(**inputs()), strict=True))


@pytest.mark.parametrize(("family", "name"), [(family, name) for family, cases in CASES.items() for name in cases])
def test_rule(family: str, name: str) -> None:
    """The function is spelled by these operators, which compute the same, in the shape and dtype that are declared."""
    entry, found, right = results(family)
    declared = entry.specs[entry.outputs[name]]

    assert CASES[family][name][1] == operators_behind(entry, name)
    assert (tuple(right[name].shape), str(right[name].dtype)) == (declared.shape, f"torch.{declared.dtype}")
    torch.testing.assert_close(found[name], right[name], rtol=1e-6, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("family", CASES)
def test_arguments_are_complete(family: str) -> None:
    """Dimensions are positive, ends of slices inside the tensor, sizes those of the result."""
    entry, _, _ = results(family)
    for node in entry.nodes:
        arguments, shape = node.arguments, node.outputs[0].shape
        dims: Any = arguments.get("dim", arguments.get("dims", []))

        assert all(dim >= 0 for dim in (dims if isinstance(dims, list) else [dims]) if node.operator != "roll")
        assert arguments.get("size", arguments.get("shape", list(shape))) == list(shape)
        if node.operator == "slice":
            limit = entry.specs[arguments["self"].name].shape[arguments["dim"]]

            assert 0 <= int(arguments["start"]) < int(arguments["end"]) <= limit


REFUSED: dict[str, tuple[Function, str]] = {
    "attention": (lambda a: F.scaled_dot_product_attention(a.x, a.x, a.x, dropout_p=0.1), "attention with dropout"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_rule_can_spell_is_refused(name: str) -> None:
    """The message says what to write instead."""
    function, message = REFUSED[name]

    with pytest.raises(NotExportable, match=message):
        captured(Family([function]), inputs())
