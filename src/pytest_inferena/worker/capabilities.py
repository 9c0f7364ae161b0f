"""Which operators an engine has, and under which conditions: what decides what is expanded for it.

The table maps an operator's name to its conditions. A condition names an argument, or `rank` (dimensions of the first
tensor), `dtype` (of the first output) or `trains` (whether the engine derives gradients of the entry), and lists the
values that it may have. The grammar is in docs/worker-protocol.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from pytest_inferena.worker.format import Ref, references

if TYPE_CHECKING:
    from pytest_inferena.worker.format import Node, TensorSpec

Conditions: TypeAlias = Mapping[str, Sequence[Any]]
Operators: TypeAlias = Mapping[str, Conditions]


def has(operators: Operators, node: Node, specs: Mapping[str, TensorSpec], *, trains: bool) -> bool:
    """Whether an engine computes a node itself.

    Args:
        operators: what the engine says it has.
        node: with all its arguments.
        specs: every tensor of the node by name.
        trains: whether the engine derives gradients of the entry.
    """
    conditions = operators.get(node.operator)
    if conditions is None:
        return False
    rank = _rank(node, specs)
    known = {**node.arguments, "rank": rank, "dtype": node.outputs[0].dtype, "trains": trains}
    return all(_allowed(known.get(name), values, rank) for name, values in conditions.items())


def _rank(node: Node, specs: Mapping[str, TensorSpec]) -> int:
    """Dimensions of the first tensor among the arguments; of what is made where there is none."""
    first = next(references(list(node.arguments.values())), node.name)
    return len(specs[first].shape)


def _allowed(value: Any, values: Sequence[Any], rank: int) -> bool:
    if isinstance(value, list):
        if "equal" in values and all(item == value[0] for item in value):
            return True
        return all(_allowed(item, values, rank) for item in value)
    return any(_matches(value, one, rank) for one in values)


def _matches(value: Any, one: Any, rank: int) -> bool:
    if isinstance(one, Mapping):
        return isinstance(value, int | float) and bool(value <= one["max"])
    match one:
        case "tensor":
            return isinstance(value, Ref)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "last":
            return bool(value == rank - 1)
    alike = type(value) is type(one) or (_number(value) and _number(one))
    return alike and bool(value == one)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
