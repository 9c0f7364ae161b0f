"""Tests of the expansions: what an operator is taken apart into computes what PyTorch's operator does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import torch
from tests.layer_cases import FREE, KEY, MASK, QUERY, VALUE
from tests.operator_cases import CASES
from tests.programs import entry_of
from tests.small_entries import Small, differentiable, forward, training
from tests.test_program_page import FIRST, PAGE, SECOND

from pytest_inferena.program.expand import EXPANSIONS, expand, graph_of, written
from pytest_inferena.program.operators import OPERATORS
from pytest_inferena.worker.aten import to_module
from pytest_inferena.worker.capabilities import has
from pytest_inferena.worker.format import Ref

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_inferena.worker.capabilities import Operators
    from pytest_inferena.worker.format import Entry

SMALLEST: Operators = {
    **{operator: {} for operator, _ in CASES.values() if operator not in EXPANSIONS},
    **{name: {"dtype": ["int64"]} for name in ("bitwise_and", "bitwise_not", "bitwise_or")},
    "slice": {"step": [1]},
    "to": {"dtype": ["float32", "int32", "int64"]},
    "pow": {"self": ["tensor"], "exponent": ["tensor"]},
}
"""An engine that has what has no expansion, and no more."""


def _lacks(name: str) -> bool:
    """Whether a case is anything to the smallest engine that has to be taken apart."""
    _, entry, _ = forward({name: CASES[name]})
    return not all(has(SMALLEST, node, entry.specs, trains=False) for node in entry.nodes)


NAMES = [name for name, case in CASES.items() if case[0] in EXPANSIONS and _lacks(name)]


def _without(operator: str) -> Operators:
    """An engine that lacks one operator, or has of it what the smallest has."""
    own = {operator: SMALLEST[operator]} if operator in SMALLEST else {}
    return {name: {} for name, _ in CASES.values() if name != operator} | own


def one_level(operator: str) -> set[str]:
    """The operators that one is written with, over all its cases."""
    found: set[str] = set()
    for name, (called, _) in CASES.items():
        if called == operator in EXPANSIONS:
            _, entry, _ = forward({name: CASES[name]})
            graph = graph_of(entry)
            (node,), graph.nodes = graph.nodes, []
            if written(graph, node):
                graph.prune()
                found |= {node.operator for node in graph.nodes}
    return found - {operator}


def _close(expected: dict[str, Tensor], actual: dict[str, Tensor | None]) -> dict[str, float]:
    """How far results are off, as a share of the largest number, where that is more than rounding."""
    found = {}
    for name, right in expected.items():
        result = actual[name]
        assert result is not None
        assert (right.shape, right.dtype) == (result.shape, result.dtype), name
        scale = float(right.detach().double().abs().max().clamp(min=1e-3))
        off = float((right.detach().double() - result.detach().double()).abs().max()) / scale
        if not off < 1e-5:
            found[name] = off
    return found


def _expanded(entry: Entry, operators: Operators) -> tuple[Entry, dict[str, int]]:
    graph, counts = expand(entry, operators)
    made = entry_of(graph, entry.name)
    made._arrays["inputs"] = entry.arrays("inputs")
    return made, counts


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("smallest", [False, True], ids=["alone", "smallest"])
def test_expansion(name: str, *, smallest: bool) -> None:
    """The same numbers, shapes and dtypes, by other operators; alone, and down to the smallest engine."""
    operator = CASES[name][0]
    made, entry, expected = forward({name: CASES[name]})
    parts, counts = _expanded(entry, SMALLEST if smallest else _without(operator))
    results = to_module(parts, made.parameters)(*made.inputs.values())

    assert {} == _close(expected, dict(zip(parts.outputs, results, strict=True)))
    assert counts[operator]
    assert [] == [
        node
        for node in parts.nodes
        if not has(SMALLEST if smallest else _without(operator), node, parts.specs, trains=False)
    ]


def test_a_mask_that_is_computed() -> None:
    """A query that attends to nothing gets zeros, also where the mask is not known beforehand."""
    hidden = ~MASK
    hidden[1] = True
    small = Small()
    seen = Ref(small.add("logical_not", {"self": hidden})[0])
    operands = {"query": QUERY, "key": KEY, "value": VALUE, "attn_mask": seen}
    (result,) = small.add("scaled_dot_product_attention", operands | FREE)
    parts, _ = _expanded(small.entry({"result": result}), SMALLEST)
    (actual,) = to_module(parts, {})(*small.inputs.values())

    assert {} == _close({"result": small.made[result]}, {"result": actual})
    assert not actual[:, :, 1].any()


@pytest.mark.parametrize(
    "name", [name for name in differentiable(CASES) if name in NAMES and CASES[name][0] not in SECOND]
)
def test_gradient_of_expansion(name: str) -> None:
    """Autograd finds the same gradients in what an operator is taken apart into."""
    made, entry, expected = training({name: CASES[name]})
    parts, _ = _expanded(entry, SMALLEST)
    trained = {key: torch.nn.Parameter(value.detach()) for key, value in made.parameters.items()}
    loss = to_module(parts, trained)(*made.inputs.values())[0]
    found = torch.autograd.grad(loss, list(trained.values()), allow_unused=True)
    actual = {f"{name}:{key}": value for key, value in zip(trained, found, strict=True)}

    assert {} == _close(expected, actual | {"loss": loss.detach()})


@pytest.mark.parametrize("operator", sorted({operator for operator, _ in CASES.values()}))
def test_the_page_says_what_an_operator_is_written_with(operator: str) -> None:
    """So that somebody who writes an engine sees what is left; an empty column is the first tier."""
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{operator}` |"))

    assert set(re.findall(r"`(\w+)`", row.split("|")[-2])) == one_level(operator)


def test_the_closed_set_is_that_of_the_page() -> None:
    """What the capture takes for known is what the page describes, with its arguments."""
    assert {name: " ".join(arguments) for name, arguments in (FIRST | SECOND).items()} == OPERATORS
    assert EXPANSIONS.keys() < OPERATORS.keys()
