"""Operators that a Program does not know, taken apart by PyTorch's own decompositions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch._decomp import decomposition_table

from pytest_inferena.program import pairs
from pytest_inferena.program.beyond import BEYOND
from pytest_inferena.program.canonical import RULES
from pytest_inferena.program.operators import OPERATORS, name_of

if TYPE_CHECKING:
    from collections.abc import Callable

KNOWN = OPERATORS.keys() | RULES.keys() | BEYOND.keys() | pairs.RULES.keys()
"""What a Program's graph is made of, in ATen's spellings."""
DEEPEST = 5
"""How often what a decomposition gives is taken apart again."""


def taken_apart(exported: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """The same with operators of the closed set, as far as PyTorch knows how to write the others."""
    table = _decompositions(exported)
    exported = exported.run_decompositions(table)
    for _ in range(DEEPEST):
        more = _decompositions(exported)
        if more.keys() <= table.keys():  # what was tried stays as it is
            break
        table |= more
        exported = exported.run_decompositions(table)
    return exported


def _decompositions(exported: torch.export.ExportedProgram) -> dict[Any, Callable[..., Any]]:
    """Those of the operators in a graph that no Program has."""
    composite = torch.export.default_decompositions()
    unknown = {
        node.target for node in exported.graph.nodes
        if isinstance(node.target, torch._ops.OpOverload) and name_of(node.target) not in KNOWN
    }  # fmt: skip
    return {
        operator: found for operator in unknown
        if (found := composite[operator] if operator in composite else decomposition_table.get(operator)) is not None
    }  # fmt: skip
