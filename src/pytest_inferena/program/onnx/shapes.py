"""Operators that move elements, choose some of them, or reduce along dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_inferena.worker import Unsupported
from pytest_inferena.worker.format import Ref

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
    return b.op("Concat", *map(b.tensor, tensors), axis=dim % len(b.out.shape))


def flip(b: Builder, x: Any, dims: list[int]) -> Any:
    """Backwards along dimensions."""
    starts, ends, steps = ([value] * len(dims) for value in (-1, -END, -1))
    return b.op("Slice", b.tensor(x), *map(b.ints, (starts, ends, dims, steps)))


def roll(b: Builder, x: Any, shifts: list[int], dims: list[int]) -> Any:
    """Shifted along dimensions; what falls off one end comes in at the other."""
    name = b.tensor(x)
    for shift, dim in zip(shifts, dims, strict=True):
        size = b.shape(x)[dim]
        split = -shift % size
        name = b.op("Concat", cut(b, name, dim, split, size), cut(b, name, dim, 0, split), axis=dim)
    return name


def reduction(kind: str) -> Rule:
    """Along the dimensions of a list, in the result's dtype."""
    return lambda b, x, dims, keepdim: b.op(kind, b.cast(x, b.out.dtype), b.ints(dims), keepdims=int(keepdim))


def any_(b: Builder, x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """Whether any element along a dimension is true."""
    number = b.op("Cast", b.tensor(x), to=6)  # int32: ONNX reduces no booleans
    dims = range(len(b.shape(x))) if dim is None else [dim]
    return b.op("Cast", b.op("ReduceMax", number, b.ints(dims), keepdims=int(keepdim)), to=9)


def var_mean(b: Builder, x: Any, dims: list[int], correction: int | None, keepdim: bool) -> Any:
    """Variance and mean. The variance is a mean of centred squares."""
    name, axes = b.tensor(x), b.ints(dims)
    mean = b.op("ReduceMean", name, axes, keepdims=1)
    centred = b.op("Sub", name, mean)
    variance = b.op("ReduceMean", b.op("Mul", centred, centred), axes, keepdims=int(keepdim))
    count = int(np.prod([b.shape(x)[dim] for dim in dims]))
    correction = 1 if correction is None else correction
    if correction:
        variance = b.op("Mul", variance, b.constant(count / (count - correction), b.out.dtype))
    return variance, mean if keepdim else b.op("Squeeze", mean, axes)


def index(b: Builder, x: Any, indices: list[Any]) -> Any:
    """Advanced indexing: by one tensor, by tensors that each vary along one dimension, or in leading dimensions."""
    given = {dim: tensor for dim, tensor in enumerate(indices) if tensor is not None}
    if len(given) == 1:
        ((dim, tensor),) = given.items()
        return b.op("Gather", b.tensor(x), b.tensor(tensor), axis=dim)
    if _is_grid(b, x, given):
        result = b.tensor(x)
        for dim, tensor in given.items():
            result = b.op("Gather", result, b.op("Reshape", b.tensor(tensor), b.ints([-1])), axis=dim)
        return result
    return b.op("GatherND", b.tensor(x), places(b, indices))


def _is_grid(b: Builder, x: Any, given: dict[int, Any]) -> bool:
    """Whether the result is the grid of the given rows, columns and so on, with its dimensions in their places."""
    shapes = [b.shape(tensor) for tensor in given.values()]
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    ones = all(size == 1 for at, shape in enumerate(padded) for dim, size in enumerate(shape) if dim != at)
    adjacent = list(given) == list(range(min(given), min(given) + len(given)))
    sizes = [shape[at] for at, shape in enumerate(padded)] if rank == len(given) else []
    kept = b.shape(x)
    return ones and adjacent and b.out.shape == (*kept[: min(given)], *sizes, *kept[max(given) + 1 :])


def places(b: Builder, indices: list[Any]) -> str:
    """The index tensors of the first dimensions as one tensor (…, dimensions), which ScatterND and GatherND take."""
    given = [tensor for tensor in indices if tensor is not None]
    if indices[: len(given)] != given:
        raise Unsupported("indices that skip a dimension")
    shape = np.broadcast_shapes(*map(b.shape, given))
    columns = []
    for tensor in given:
        name = b.cast(tensor, "int64")
        if b.shape(tensor) != shape:
            name = b.op("Expand", name, b.ints(shape))
        columns.append(b.op("Unsqueeze", name, b.ints([len(shape)])))
    return str(columns[0] if len(columns) == 1 else b.op("Concat", *columns, axis=len(shape)))


def index_put(b: Builder, x: Any, indices: list[Any], values: Any, accumulate: bool = False) -> Any:
    """Write or add rows at indices."""
    given = [tensor for tensor in indices if tensor is not None]
    shape = (*np.broadcast_shapes(*map(b.shape, given)), *b.shape(x)[len(given) :])
    updates = b.tensor(values)
    if b.shape(values) != shape:
        updates = b.op("Expand", updates, b.ints(shape))
    return b.op("ScatterND", b.tensor(x), places(b, indices), updates, reduction="add" if accumulate else "none")


def scatter(mode: str) -> Rule:
    """Write or add a tensor, or a number, at positions along one dimension."""

    def rule(b: Builder, x: Any, dim: int, at: Any, source: Any) -> Any:
        shape = b.shape(at)
        if isinstance(source, Ref):
            updates = b.tensor(source)
            for axis, size in enumerate(shape):
                if b.shape(source)[axis] != size:
                    updates = cut(b, updates, axis, 0, size)
        else:
            updates = b.op("Expand", b.constant(source, b.out.dtype), b.ints(shape))
        axis = dim % len(b.out.shape)
        return b.op("ScatterElements", b.tensor(x), b.tensor(at), updates, axis=axis, reduction=mode)

    return rule


def slice_scatter(b: Builder, x: Any, source: Any, dim: int, start: int | None, end: int | None, step: int) -> Any:
    """A tensor with a part of it replaced."""
    shape, dim = b.shape(x), dim % len(b.shape(x))
    begin, stop, step = slice(start, end, step).indices(shape[dim])
    if step != 1:
        raise Unsupported("slice_scatter with a step")
    full = b.made_by(x, "full")
    if full is not None and full["fill_value"] == 0:
        before, after = [0] * len(shape), [0] * len(shape)
        before[dim], after[dim] = begin, shape[dim] - stop
        return b.op("Pad", b.tensor(source), b.ints([*before, *after]))
    name, parts = b.tensor(x), [b.tensor(source)]
    if begin > 0:
        parts.insert(0, cut(b, name, dim, 0, begin))
    if stop < shape[dim]:
        parts.append(cut(b, name, dim, stop, shape[dim]))
    return b.op("Concat", *parts, axis=dim)


OPERATORS: dict[str, Rule] = {
    "amax": reduction("ReduceMax"),
    "any": any_,
    "cat": cat,
    "detach": lambda b, x: b.tensor(x),
    "embedding": lambda b, weight, indices: b.op("Gather", b.tensor(weight), b.tensor(indices), axis=0),
    "cumsum": lambda b, x, dim: b.op("CumSum", b.cast(x, b.out.dtype), b.constant(dim, "int64")),
    "flip": flip,
    "gather": lambda b, x, dim, at: b.op("GatherElements", b.tensor(x), b.tensor(at), axis=dim % len(b.out.shape)),
    "index": index,
    "index_put": index_put,
    "index_select": lambda b, x, dim, at: b.op("Gather", b.tensor(x), b.tensor(at), axis=dim % len(b.out.shape)),
    "mean": reduction("ReduceMean"),
    "permute": permute,
    "reshape": reshape,
    "roll": roll,
    "scatter": scatter("none"),
    "scatter_add": scatter("add"),
    "slice": lambda b, x, dim, start, end, step: cut(b, b.tensor(x), dim, start, end, step),
    "slice_scatter": slice_scatter,
    "sum": reduction("ReduceSum"),
    "var_mean": var_mean,
}
