"""A node of complex numbers while it is written with real ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from pytest_inferena.program.expand.tensor import Tensor
from pytest_inferena.worker.format import Node, Ref, TensorSpec, references

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_inferena.program.graph import Arguments, Graph

    Part: TypeAlias = Any
    """A real tensor or number, or None for zero."""
    Pair: TypeAlias = tuple[Part, Part]
    Rule: TypeAlias = Callable[["Complex"], Any]

REAL = {"complex32": "float16", "complex64": "float32", "complex128": "float64"}
"""Dtype → that of the parts."""


class Complex:
    """A node of complex numbers while it is written."""

    def __init__(self, graph: Graph, node: Node, write: Callable[[Graph, Node], None]) -> None:
        self.graph, self.node, self.write = graph, node, write
        self.a: Arguments = node.arguments
        self.out = node.outputs[0]
        self.dtype = next(REAL[spec.dtype] for spec in specs_of(graph, node) if spec.dtype in REAL)
        self.like = TensorSpec(node.name, self.out.shape, self.dtype)
        self.made = 0

    def tensor(self, name: str) -> Tensor:
        """A tensor of the graph."""
        return Tensor(self.graph, self.like, name)

    def pair(self, value: Any) -> Pair:
        """The parts of an argument."""
        if isinstance(value, complex):
            return value.real or None, value.imag or None
        if not isinstance(value, Ref):
            return value or None, None
        if self.graph.dtype(value) not in REAL:
            return self.tensor(value.name).to(self.dtype), None
        if (array := self.graph.constants.get(value.name)) is not None:
            parts = {"real": array.real.copy(), "imag": array.imag.copy()}
            names = [self.graph.constant(f"{value.name}.{part}", x).name for part, x in parts.items()]
            self.graph.pairs[value.name] = (Ref(names[0]), Ref(names[1]))
        real, imag = self.graph.pairs[value.name]
        return self._known(real), self._known(imag)

    def _known(self, value: Ref) -> Part:
        filled = self.graph.behind(value, "full")
        return self.tensor(value.name) if filled is None or filled["fill_value"] != 0 else None

    def call(self, operator: str, arguments: Mapping[str, Any], *specs: TensorSpec) -> Tensor:
        """What an operator of ATen's makes of real numbers; without a spec as the node makes it."""
        self.made += 1
        default = TensorSpec(f"{self.like.name}~made{self.made}", self.out.shape, self.dtype)
        given = {name: _plain(value) for name, value in arguments.items()}
        outputs = specs or (default,)
        self.write(self.graph, Node(operator, given, outputs))
        return self.tensor(self.graph.resolve(Ref(outputs[0].name)).name)

    def filled(self, part: Part, spec: TensorSpec) -> Ref:
        """A part as a tensor in the shape that the node makes."""
        if not isinstance(part, Tensor):
            arguments = {"size": list(spec.shape), "fill_value": part or 0.0, "dtype": self.dtype}
            return self.graph.made("full", arguments, self.like, spec.shape)
        return Ref((part if part.shape == spec.shape else part.expand(*spec.shape)).name)

    def whole(self, x: Pair, shape: tuple[int, ...] | None = None) -> tuple[Tensor, Tensor]:
        """Both parts as tensors, in the shape that the node makes or another."""
        spec = TensorSpec(self.like.name, self.out.shape if shape is None else shape, self.dtype)
        real, imag = (self.tensor(self.filled(part, spec).name) for part in x)
        return real, imag

    def keep(self, spec: TensorSpec, result: Any) -> None:
        """Have a result stand for what the node makes."""
        if spec.dtype in REAL:
            real, imag = result
            self.graph.pairs[spec.name] = self.filled(real, spec), self.filled(imag, spec)
        else:
            self.graph.aliases[spec.name] = result.name


def specs_of(graph: Graph, node: Node) -> list[TensorSpec]:
    """Of all tensors that a node makes or takes."""
    return [*node.outputs, *(graph.specs[name] for name in references(list(node.arguments.values())))]


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return Ref(value.name)
    return [_plain(item) for item in value] if isinstance(value, list) else value
