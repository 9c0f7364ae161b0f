"""A tensor of a graph under construction, written with like an array: every operation appends a node.

Expansions are functions of such tensors, as an engine's table has functions of its own.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from pytest_inferena.program.layout import RULES
from pytest_inferena.worker.format import Ref, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_inferena.program.graph import Graph

Number: TypeAlias = int | float


class Tensor:
    """A tensor by name, with the graph that it is part of, and the output of the node that is expanded."""

    def __init__(self, graph: Graph, like: TensorSpec, name: str) -> None:
        self.graph, self.like, self.name = graph, like, name

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes."""
        return self.graph.specs[self.name].shape

    @property
    def rank(self) -> int:
        """How many dimensions it has."""
        return len(self.shape)

    @property
    def dtype(self) -> str:
        """NumPy's name of its dtype."""
        return self.graph.specs[self.name].dtype

    def make(self, operator: str, arguments: dict[str, Any], shape: Sequence[int], dtype: str = "") -> Tensor:
        """Append a node; tensors among its arguments may be such as this one."""
        given = {name: _plain(value) for name, value in arguments.items()}
        made = self.graph.made(operator, given, self.like, tuple(shape), dtype or self.dtype)
        return Tensor(self.graph, self.like, made.name)

    def pair(self, operator: str, arguments: dict[str, Any], shape: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Append a node that makes two tensors of the same kind."""
        name = f"{self.like.name}~{len(self.graph.nodes)}"
        specs = [TensorSpec(each, tuple(shape), self.dtype) for each in (name, f"{name}.1")]
        self.graph.emit(operator, {key: _plain(value) for key, value in arguments.items()}, *specs)
        first, second = (Tensor(self.graph, self.like, spec.name) for spec in specs)
        return first, second

    def constant(self, values: Any) -> Tensor:
        """An array that the Program holds."""
        array = np.asarray(values)
        name = self.graph.constant(f"{self.like.name}~{len(self.graph.constants)}.constant", array).name
        return Tensor(self.graph, self.like, name)

    def full(self, shape: Sequence[int], value: Number, dtype: str = "") -> Tensor:
        """One number over and over, in this tensor's dtype or another."""
        arguments = {"size": list(shape), "fill_value": value, "dtype": dtype or self.dtype}
        return self.make("full", arguments, shape, dtype)

    # -- arithmetic: with tensors of its dtype, or with numbers

    def __add__(self, other: Tensor | Number) -> Tensor:
        return self._binary("add", other)

    def __sub__(self, other: Tensor | Number) -> Tensor:
        return self._binary("sub", other)

    def __mul__(self, other: Tensor | Number) -> Tensor:
        return self._binary("mul", other)

    def __truediv__(self, other: Tensor | Number) -> Tensor:
        return self._binary("div", other)

    def __pow__(self, exponent: Number) -> Tensor:
        return self.make("pow", {"self": self, "exponent": exponent}, self.shape)

    def __rsub__(self, number: Number) -> Tensor:
        return self.make("sub", {"self": number, "other": self}, self.shape)

    def __rtruediv__(self, number: Number) -> Tensor:
        return self.make("div", {"self": number, "other": self}, self.shape)

    def __neg__(self) -> Tensor:
        return self.unary("neg")

    def unary(self, operator: str) -> Tensor:
        """`exp`, `log`, `sqrt` and all others that take a tensor alone and leave its shape and dtype."""
        return self.make(operator, {"self": self}, self.shape)

    def maximum(self, other: Tensor | Number) -> Tensor:
        """The larger of the two; a number becomes a tensor, for the operator takes nothing else."""
        other = other if isinstance(other, Tensor) else self.full([1] * self.rank, other)
        return self._binary("maximum", other)

    def minimum(self, other: Tensor | Number) -> Tensor:
        """The smaller of the two."""
        other = other if isinstance(other, Tensor) else self.full([1] * self.rank, other)
        return self._binary("minimum", other)

    def compare(self, operator: str, other: Tensor | Number) -> Tensor:
        """`eq`, `lt` and their like: to bool."""
        return self.make(operator, {"self": self, "other": other}, _met(self, other), "bool")

    def __and__(self, other: Tensor) -> Tensor:
        return self.make("logical_and", {"self": self, "other": other}, _met(self, other))

    def where(self, first: Tensor | Number, second: Tensor | Number) -> Tensor:
        """Of a condition: the first where it is true, else the second; one of them is a tensor."""
        tensor = first if isinstance(first, Tensor) else second
        shape = np.broadcast_shapes(self.shape, *(x.shape for x in (first, second) if isinstance(x, Tensor)))
        dtype = tensor.dtype if isinstance(tensor, Tensor) else self.like.dtype
        return self.make("where", {"condition": self, "self": first, "other": second}, shape, dtype)

    def to(self, dtype: str) -> Tensor:
        """A cast; itself where nothing changes."""
        return self if dtype == self.dtype else self.make("to", {"self": self, "dtype": dtype}, self.shape, dtype)

    def detach(self) -> Tensor:
        """The same values without a gradient; itself where none is derived."""
        return self.unary("detach") if self.graph.trains else self

    # -- reductions and products

    def reduce(self, operator: str, dims: Sequence[int], *, keepdim: bool = True) -> Tensor:
        """`sum`, `mean` or `amax` over some dimensions."""
        gone = {dim % self.rank for dim in dims} if self.rank else set()
        kept = [1 if at in gone else size for at, size in enumerate(self.shape)]
        shape = kept if keepdim else [size for at, size in enumerate(self.shape) if at not in gone]
        return self.make(operator, {"self": self, "dim": sorted(gone), "keepdim": keepdim}, shape)

    def __matmul__(self, other: Tensor) -> Tensor:
        batch = np.broadcast_shapes(self.shape[:-2], other.shape[:-2])
        shape = (*batch, self.shape[-2], other.shape[-1])
        return self.make("matmul", {"self": self, "other": other}, shape)

    # -- what moves numbers

    def reshape(self, *shape: int) -> Tensor:
        """Other sizes, one of which may be -1."""
        known = math.prod(size for size in shape if size != -1)
        whole = tuple(math.prod(self.shape) // max(known, 1) if size == -1 else size for size in shape)
        return self._moved("reshape", {}, whole)

    def permute(self, *dims: int) -> Tensor:
        """Dimensions in another order."""
        return self._moved("permute", {"dims": list(dims)}, tuple(self.shape[dim] for dim in dims))

    def swap(self, first: int, second: int) -> Tensor:
        """Two dimensions in each other's place."""
        order = [*range(self.rank)]
        order[first], order[second] = order[second], order[first]
        return self.permute(*order)

    def expand(self, *size: int) -> Tensor:
        """Dimensions of size 1 repeated, and new ones before them."""
        return self._moved("expand", {"size": list(size)}, size)

    def slice(self, dim: int, start: int, end: int, step: int = 1) -> Tensor:
        """Every `step`-th row from `start` on, before `end`."""
        dim %= self.rank
        shape = [*self.shape]
        shape[dim] = len(range(start, end, step))
        if shape[dim] == self.shape[dim]:
            return self
        return self.make("slice", {"self": self, "dim": dim, "start": start, "end": end, "step": step}, shape)

    def pad(self, dim: int, before: int, after: int, value: Number = 0) -> Tensor:
        """Rows of one number on either side."""
        sides = [[*self.shape[:dim], size, *self.shape[dim + 1 :]] for size in (before, after)]
        first, last = (self.full(shape, value) for shape in sides)
        return cat([*([first] if before else []), self, *([last] if after else [])], dim)

    def rows(self, indices: Tensor) -> Tensor:
        """Rows of a table (N, …) by numbers of any shape: an embedding of two dimensions."""
        table = self.reshape(self.shape[0], -1)
        shape = (*indices.shape, table.shape[1])
        found = self.make("embedding", {"weight": table, "indices": indices}, shape)
        return found.reshape(*indices.shape, *self.shape[1:])

    def _binary(self, operator: str, other: Tensor | Number) -> Tensor:
        return self.make(operator, {"self": self, "other": other}, _met(self, other))

    def _moved(self, operator: str, arguments: dict[str, Any], shape: tuple[int, ...]) -> Tensor:
        """By the rule that also merges it with what stands before it, or finds that nothing moves."""
        name = f"{self.like.name}~{len(self.graph.nodes)}"
        result = RULES[operator](
            self.graph, {"self": Ref(self.name), **arguments}, (TensorSpec(name, shape, self.dtype),)
        )
        return self if result is None else Tensor(self.graph, self.like, result.name)


def tensors(graph: Graph, like: TensorSpec, value: Any) -> Any:
    """An argument of a node with tensors in place of references."""
    if isinstance(value, Ref):
        return Tensor(graph, like, value.name)
    return [tensors(graph, like, item) for item in value] if isinstance(value, list) else value


def cat(parts: Sequence[Tensor], dim: int) -> Tensor:
    """One behind the other along a dimension."""
    first = parts[0]
    if len(parts) == 1:
        return first
    shape = [*first.shape]
    shape[dim] = sum(part.shape[dim] for part in parts)
    return first.make("cat", {"tensors": list(parts), "dim": dim % first.rank}, shape)


def _met(first: Tensor, second: Tensor | Number) -> tuple[int, ...]:
    """The shape in which two operands meet."""
    return np.broadcast_shapes(first.shape, second.shape) if isinstance(second, Tensor) else first.shape


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return Ref(value.name)
    return [_plain(item) for item in value] if isinstance(value, list) else value
