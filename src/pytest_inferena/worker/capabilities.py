"""Which operators an engine has, and under which conditions: what decides what is expanded for it.

The table maps an operator's name to its conditions. A condition names an argument, or `rank` (dimensions of the first
tensor), `dtype` (of the first output) or `trains` (whether the engine derives gradients of the entry), and lists the
values that it may have. The grammar is in docs/worker-protocol.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from pytest_inferena.worker.format import Ref, Unsupported, references

if TYPE_CHECKING:
    from pytest_inferena.worker.format import Entry, Node, TensorSpec

Conditions: TypeAlias = Mapping[str, Sequence[Any]]
Operators: TypeAlias = Mapping[str, Conditions]


class Lazily(Mapping[str, Conditions]):
    """Operators of a table that only the preparer imports: the function is called when one is first looked up."""

    def __init__(self, read: Callable[[], Operators]) -> None:
        self.read = read

    @cached_property
    def operators(self) -> Operators:
        """What the function says."""
        return self.read()

    def __getitem__(self, name: str) -> Conditions:
        return self.operators[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.operators)

    def __len__(self) -> int:
        return len(self.operators)


def require(operators: Operators, entry: Entry) -> None:
    """Check that an engine computes every node of an entry itself.

    Raises:
        Unsupported: it does not; the message names the operator, the node and the conditions that are not met.
    """
    for node in entry.nodes:
        if not has(operators, node, entry.specs, trains=entry.trains):
            met = operators.get(node.operator)
            where = "" if met is None else f": it has it only where {_spelled(met)}"
            raise Unsupported(f"unsupported operator {node.title}, node {node.name}{where}")


def _spelled(conditions: Conditions) -> str:
    return " and ".join(f"{name} is {' or '.join(map(str, values))}" for name, values in conditions.items())


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
