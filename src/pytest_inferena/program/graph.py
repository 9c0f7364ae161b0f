"""A Program's entry while it is being rewritten."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from pytest_inferena.worker.format import Node, Ref, TensorSpec, substitute

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    Arguments = dict[str, Any]


class NotExportable(ValueError):  # noqa: N818 - the model's fault, said as such
    """A module, or something it computes, cannot become a Program; the message says what to do."""


@dataclass
class Graph:
    """Nodes in order of execution, and every tensor's shape and dtype; rules append to it."""

    inputs: list[TensorSpec]
    outputs: dict[str, str]
    nodes: list[Node] = field(default_factory=list)
    specs: dict[str, TensorSpec] = field(default_factory=dict)
    constants: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    parameters: set[str] = field(default_factory=set)
    aliases: dict[str, str] = field(default_factory=dict)
    by_content: dict[tuple[object, ...], str] = field(default_factory=dict)
    makers: dict[str, Node] = field(default_factory=dict)
    """Tensor → the node that was emitted for it."""
    trains: bool = False
    """Whether engines derive gradients of it, so that it matters where none may flow."""
    pairs: dict[str, tuple[Ref, Ref]] = field(default_factory=dict)
    """Complex tensor → the real and the imaginary part that are written in its place."""
    made_of: Any = None
    """The FX graph that it was lowered from, and what its placeholders stand for."""

    reserved: set[str] = field(default_factory=set)
    """The names of inputs and parameters, and what they begin with; see `names.heads`."""

    def free(self, name: str) -> str:
        """The name for a new tensor: a parameter may be called `mul`, or `split.1`."""
        while name in self.reserved or name in self.specs:
            name += "_"
        return name

    def emit(self, operator: str, arguments: Arguments, *outputs: TensorSpec) -> Ref:
        """Append a node; the reference to its first output."""
        self.nodes.append(Node(operator, arguments, outputs))
        self.makers |= dict.fromkeys((spec.name for spec in outputs), self.nodes[-1])
        self.specs |= {spec.name: spec for spec in outputs}
        return Ref(outputs[0].name)

    def constant(self, name: str, value: np.ndarray[Any, Any]) -> Ref:
        """Add a constant, or find an equal one; the reference to it."""
        content = (value.shape, str(value.dtype), hashlib.sha256(value.tobytes()).digest())
        name = self.by_content.setdefault(content, name)
        self.constants[name] = value
        self.specs[name] = TensorSpec(name, value.shape, str(value.dtype))
        return Ref(name)

    def resolve(self, value: Any) -> Any:
        """An argument with aliases followed to the tensor they stand for."""
        return substitute(value, lambda name: Ref(self.aliases.get(name, name)))

    def made(self, operator: str, arguments: Arguments, like: TensorSpec, shape: Sequence[int], dtype: str = "") -> Ref:
        """Append a node for an intermediate result of the node whose output is `like`."""
        name = f"{like.name}~{len(self.nodes)}"
        return self.emit(operator, arguments, TensorSpec(name, tuple(shape), dtype or like.dtype))

    def dtype(self, value: Any) -> str:
        """Dtype of a referenced tensor; "" of a number, which takes that of the tensor beside it."""
        return self.specs[value.name].dtype if isinstance(value, Ref) else ""

    def cast(self, value: Any, like: TensorSpec, dtype: str = "") -> Any:
        """A tensor in the dtype of `like`, or another; numbers stay as they are."""
        dtype = dtype or like.dtype
        if self.dtype(value) in {"", dtype}:
            return value
        return self.made("to", {"self": value, "dtype": dtype}, like, self.shape(value), dtype)

    def behind(self, value: Ref, operator: str) -> Arguments | None:
        """The arguments of the node that made a tensor, if it is this operator."""
        node = self.makers.get(value.name)
        return node.arguments if node is not None and node.operator == operator else None

    def number(self, value: Any) -> Any:
        """The number behind a constant without dimensions; anything else as it is."""
        array = self.constants.get(value.name) if isinstance(value, Ref) else None
        return value if array is None or array.ndim else array.item()

    def shape(self, value: Any) -> tuple[int, ...]:
        """Shape of a referenced tensor; () of a number."""
        return self.specs[value.name].shape if isinstance(value, Ref) else ()

    def prune(self) -> None:
        """Drop nodes and constants that no output needs."""
        self.outputs = {key: self.aliases.get(name, name) for key, name in self.outputs.items()}
        needed = set(self.outputs.values())
        kept = []
        for node in reversed(self.nodes):
            if any(spec.name in needed for spec in node.outputs):
                kept.append(node)
                needed.update(node.inputs())
        self.nodes = kept[::-1]
        self.constants = {name: value for name, value in self.constants.items() if name in needed}
        self.parameters &= needed


Rule: TypeAlias = "Callable[[Graph, Arguments, tuple[TensorSpec, ...]], Ref | None]"
"""Emits what a node becomes, the last node with the node's own outputs; or returns what it is equal to."""
