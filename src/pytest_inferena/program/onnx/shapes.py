"""Operators that move elements, choose some of them, or reduce along dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_inferena.program.onnx.builder import Builder

    Rule = Callable[..., Any]

END = np.iinfo(np.int64).max
"""Where a slice that goes to the end stops; its negative, where a slice that goes backwards does."""


def reshape(b: Builder, x: Any, shape: list[int]) -> Any:
    """Same elements in the same order."""
    return b.op("Reshape", b.tensor(x), b.ints(shape))


def permute(b: Builder, x: Any, dims: list[int]) -> Any:
    """Dimensions in another order."""
    return b.op("Transpose", b.tensor(x), perm=dims)


def cut(b: Builder, name: str, dim: int, start: int, end: int, step: int = 1) -> str:
    """A slice of an ONNX tensor along one dimension."""
    return str(b.op("Slice", name, *(b.ints([value]) for value in (start, end, dim, step))))


def cat(b: Builder, tensors: list[Any], dim: int) -> Any:
    """One after the other along a dimension."""
    return b.op("Concat", *map(b.tensor, tensors), axis=dim)


def flip(b: Builder, x: Any, dims: list[int]) -> Any:
    """Backwards along dimensions."""
    starts, ends, steps = ([value] * len(dims) for value in (-1, -END, -1))
    return b.op("Slice", b.tensor(x), *map(b.ints, (starts, ends, dims, steps)))


def reduction(kind: str) -> Rule:
    """Along the dimensions of a list, in the result's dtype."""
    return lambda b, x, dims, keepdim: b.op(kind, b.cast(x, b.out.dtype), b.ints(dims), keepdims=int(keepdim))


def places(b: Builder, indices: list[Any]) -> str:
    """The index tensors of the first dimensions as one tensor (…, dimensions), which ScatterND takes."""
    shape = np.broadcast_shapes(*map(b.shape, indices))
    columns = []
    for tensor in indices:
        name = b.cast(tensor, "int64")
        if b.shape(tensor) != shape:
            name = b.op("Expand", name, b.ints(shape))
        columns.append(b.op("Unsqueeze", name, b.ints([len(shape)])))
    return str(columns[0] if len(columns) == 1 else b.op("Concat", *columns, axis=len(shape)))


def index_put(b: Builder, x: Any, indices: list[Any], values: Any, accumulate: bool) -> Any:
    """Rows added to those of the numbers."""
    del accumulate
    shape = (*np.broadcast_shapes(*map(b.shape, indices)), *b.shape(x)[len(indices) :])
    updates = b.tensor(values)
    if b.shape(values) != shape:
        updates = b.op("Expand", updates, b.ints(shape))
    return b.op("ScatterND", b.tensor(x), places(b, indices), updates, reduction="add")


def scatter_add(b: Builder, x: Any, dim: int, at: Any, source: Any) -> Any:
    """Numbers added to the places along one dimension that others name."""
    updates = b.tensor(source)
    for axis, size in enumerate(b.shape(at)):
        if b.shape(source)[axis] != size:
            updates = cut(b, updates, axis, 0, size)
    return b.op("ScatterElements", b.tensor(x), b.tensor(at), updates, axis=dim, reduction="add")


OPERATORS: dict[str, Rule] = {
    "amax": reduction("ReduceMax"),
    "cat": cat,
    "detach": lambda b, x: b.tensor(x),
    "embedding": lambda b, weight, indices: b.op("Gather", b.tensor(weight), b.tensor(indices), axis=0),
    "cumsum": lambda b, x, dim: b.op("CumSum", b.cast(x, b.out.dtype), b.constant(dim, "int64")),
    "flip": flip,
    "gather": lambda b, x, dim, at: b.op("GatherElements", b.tensor(x), b.tensor(at), axis=dim),
    "index_put": index_put,
    "index_select": lambda b, x, dim, at: b.op("Gather", b.tensor(x), b.tensor(at), axis=dim),
    "mean": reduction("ReduceMean"),
    "permute": permute,
    "reshape": reshape,
    "scatter_add": scatter_add,
    "slice": lambda b, x, dim, start, end, step: cut(b, b.tensor(x), dim, start, end, step),
    "sum": reduction("ReduceSum"),
}
