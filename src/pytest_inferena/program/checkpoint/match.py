"""Walks an entry from its result back to its inputs, and compares it with what an architecture has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_inferena.worker import Ref, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_inferena.worker import Entry, Node

Indices = np.ndarray[Any, np.dtype[np.int64]]
MOVES: dict[str, Callable[[Indices, list[int]], Indices]] = {
    "reshape": np.reshape,
    "permute": np.transpose,
    "expand": np.broadcast_to,
}
"""Operators that move elements and compute nothing."""


@dataclass(frozen=True)
class Affine:
    """Names of a weight and of the bias beside it."""

    weight: str
    bias: str | None


class Match:
    """An entry that should be of an architecture. Whatever differs raises Unsupported."""

    def __init__(self, entry: Entry, architecture: str) -> None:
        self.entry, self.architecture = entry, architecture
        self.made = {spec.name: node for node in entry.nodes for spec in node.outputs}
        if len(entry.outputs) != 1:
            raise self.refusal(f"it has {len(entry.outputs)} outputs, not one")
        for name in (*entry.parameters, *entry.outputs.values()):
            if (dtype := entry.specs[name].dtype) != "float32":
                raise self.refusal(f"{name} is {dtype}; float32 is all that is compared")

    def refusal(self, reason: str) -> Unsupported:
        """The exception to raise."""
        return Unsupported(f"not a {self.architecture}: {reason}")

    def hold(self, fact: object, node: Node, otherwise: str) -> None:
        """Refuse a node unless a fact holds; `otherwise` says what the node does instead."""
        if not fact:
            raise self.refusal(f"node {node.name} (aten.{node.operator}) {otherwise}")

    def shape(self, tensor: str) -> tuple[int, ...]:
        """The shape of any tensor."""
        return self.entry.specs[tensor].shape

    def node(self, tensor: str, operator: str) -> Node:
        """The node that makes a tensor; its operator has to be this one."""
        if (node := self.made.get(tensor)) is None:
            raise self.refusal(f"{tensor} stands where aten.{operator} is expected")
        self.hold(node.operator == operator, node, f"stands where aten.{operator} is expected")
        return node

    def ref(self, node: Node, argument: str) -> str:
        """The name of the tensor that is an argument."""
        value = node.arguments[argument]
        self.hold(isinstance(value, Ref), node, f"has no tensor as {argument}")
        name: str = value.name
        return name

    def parameter(self, node: Node, argument: str) -> str:
        """The name of the parameter that is an argument."""
        name = self.ref(node, argument)
        self.hold(name in self.entry.parameters, node, f"has no parameter as {argument}")
        return name

    def affine(self, node: Node) -> Affine:
        """A node's weight, and its bias if it has one."""
        bias = None if node.arguments.get("bias") is None else self.parameter(node, "bias")
        return Affine(self.parameter(node, "weight"), bias)

    def either(self, tensor: str, operator: str, operand: str) -> tuple[str, str]:
        """The operands of a sum or product: first the one that the operator `operand` makes, then the other."""
        node = self.node(tensor, operator)
        names = [self.ref(node, "self"), self.ref(node, "other")]
        made = [name in self.made and self.made[name].operator == operand for name in names]
        self.hold(sum(made) == 1, node, f"does not have one operand made by aten.{operand}")
        return names[made.index(True)], names[made.index(False)]

    def layout(self, tensor: str) -> tuple[str, Indices, float]:
        """The tensor that this one rearranges, the place of each element there, and the factor it is scaled by."""
        chain, factor = [], 1.0
        while (node := self.made.get(tensor)) is not None and (node.operator in MOVES or _scales(node)):
            if node.operator in MOVES:
                chain.append(node)
            else:
                factor *= node.arguments["other"]
            tensor = self.ref(node, "self")
        places = numbered(self.shape(tensor))
        for node in reversed(chain):
            places = MOVES[node.operator](places, list(node.arguments.values())[1])
        return tensor, places, factor


def numbered(shape: tuple[int, ...]) -> Indices:
    """A tensor of this shape whose elements, from 0 on, are their own places."""
    return np.arange(np.prod(shape, dtype=int)).reshape(shape)


def _scales(node: Node) -> bool:
    return node.operator == "mul" and isinstance(node.arguments["other"], int | float)
