"""GGML's table, second part: operators that move numbers, look them up or sum them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from ggml import ggml

from pytest_inferena import Unsupported

from .graph import EXACT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .graph import Graph, Value

SET_OFFSET = 1 << 30  # ggml_set has offsets below it


def around(x: Value, dim: int, end: int | None = None) -> tuple[int, int, int]:
    """How many elements lie before, in and after the dimensions from `dim` up to `end`."""
    end = dim + 1 if end is None else end
    return math.prod(x.shape[:dim]), math.prod(x.shape[dim:end]), math.prod(x.shape[end:])


def resize(shape: Sequence[int], dim: int, size: int) -> list[int]:
    """A shape with another size in one place."""
    return [size if place == dim else old for place, old in enumerate(shape)]


def to_end(g: Graph, x: Value, dims: Sequence[int]) -> tuple[Value, list[int]]:
    """A tensor with some dimensions last, and the order that brings them back."""
    order = [dim for dim in range(len(x.shape)) if dim not in dims] + list(dims)
    return (x if order == sorted(order) else g.permute(x, order)), [order.index(dim) for dim in range(len(order))]


def along(function: Callable[..., Value]) -> Callable[..., Value]:
    """An operator on the last dimension, for any."""

    def operator(g: Graph, x: Value, dim: int) -> Value:
        moved, back = to_end(g, x, [dim])
        return g.permute(function(g, moved), back) if moved is not x else function(g, x)

    return operator


def table(g: Graph, x: Value) -> Any:
    """As rows: the last dimension, and all others."""
    return g.packed(x, *around(x, len(x.shape) - 1)[:2])


def softmax(g: Graph, x: Value) -> Value:
    """Over the last dimension."""
    return g.made(g.call(ggml.ggml_soft_max, g.packed(x, *x.shape) if len(x.shape) <= 4 else table(g, x)), x.shape)


def cumsum(g: Graph, x: Value) -> Value:
    """Over the last dimension."""
    return g.made(g.call(ggml.ggml_cumsum, table(g, x)), x.shape)


def reduced(shape: Sequence[int], dims: Sequence[int], keepdim: bool) -> list[int]:
    """The shape that a reduction leaves."""
    return [1 if dim in dims else size for dim, size in enumerate(shape) if keepdim or dim not in dims]


def total(g: Graph, x: Value, dims: list[int], keepdim: bool) -> Value:
    """Sums: of rows by ggml_sum_rows, of what lies apart by ggml_repeat_back."""
    shape, left = reduced(x.shape, dims, keepdim), sorted(dims)
    while left:
        end = left.pop() + 1
        start = end - 1
        while left and left[-1] == start - 1:
            start = left.pop()
        before, size, after = around(x, start, end)
        if after == 1:
            tensor = g.call(ggml.ggml_sum_rows, g.packed(x, before, size))
        else:
            like = g.call(ggml.ggml_new_tensor_3d, ggml.GGML_TYPE_F32, after, 1, before)
            tensor = g.call(ggml.ggml_repeat_back, g.packed(x, before, size, after), like)
        x = g.made(tensor, [1 if start <= dim < end else size for dim, size in enumerate(x.shape)])
    return g.reshape(x, shape)


def amax(g: Graph, x: Value, dims: list[int], keepdim: bool) -> Value:
    """One pool as long as a row."""
    moved, _ = to_end(g, x, dims)
    size = math.prod(x.shape[dim] for dim in dims)
    rows = g.packed(moved, math.prod(x.shape) // size, size)
    largest = g.largest(rows, size)
    return g.made(largest, reduced(x.shape, dims, keepdim))


def cut(g: Graph, x: Value, dim: int, start: int, end: int, step: int) -> Value:
    """A view, where the last dimension stays in one piece."""
    shape = resize(x.shape, dim, len(range(start, end, step)))
    if step != 1 and around(x, dim)[2] == 1:
        return strided(g, x, dim, start, shape, step)
    if len(x.shape) > 4:
        before, size, after = around(x, dim)
        return g.reshape(cut(g, g.reshape(x, (before, size, after)), 1, start, end, step), shape)
    tensor = g.natural(x)
    steps, sizes, place = tensor.contents.nb[:], [1] * (4 - len(shape)) + shape, len(x.shape) - 1 - dim
    offset = start * steps[place]
    steps[place] *= step
    return g.made(g.call(ggml.ggml_view_4d, tensor, *sizes[::-1], *steps[1:], offset), shape, x.dtype)


def strided(g: Graph, x: Value, dim: int, start: int, shape: list[int], step: int) -> Value:
    """Every so many elements of a row: ggml's views have rows in one piece, so each is a row of its own."""
    before, size, _ = around(x, dim)
    tensor = g.packed(x, before, size)
    width, line = tensor.contents.nb[:2]
    view = g.call(ggml.ggml_view_3d, tensor, 1, shape[dim], before, step * width, line, start * width)
    turned = g.call(ggml.ggml_permute, view, 1, 0, 2, 3)
    return g.made(g.call(ggml.ggml_cont, turned), shape, x.dtype)


def cat(g: Graph, tensors: list[Value], dim: int) -> Value:
    """Two are joined; of more, each is copied to its place in one tensor; zeros around one are padding."""
    kinds = {x.dtype for x in tensors}
    if len(kinds) > 1:
        raise Unsupported("tensors of several dtypes in one")
    tensors = tensors if kinds == {"float32"} else [g.floats(x) for x in tensors]
    shape = resize(tensors[0].shape, dim, sum(x.shape[dim] for x in tensors))
    held = [at for at, x in enumerate(tensors) if x.data is None or x.data.any()]
    parts, axis = [g.packed(x, *folded(x, dim)[0]) for x in tensors], folded(tensors[0], dim)[1]
    if len(held) == 1:
        sizes = [x.shape[dim] for x in tensors]
        joined = pad(g, parts[held[0]], axis, sum(sizes[: held[0]]), sum(sizes[held[0] + 1 :]))
    elif len(parts) == 2:
        joined = g.call(ggml.ggml_concat, *parts, axis)
    else:
        joined = assembled(g, parts, axis)
    return g.made(joined, shape, kinds.pop())


def folded(x: Value, dim: int) -> tuple[tuple[int, ...], int]:
    """Sizes of three dimensions, and which of ggml's stands for `dim`: that its threads get rows to share."""
    before, size, after = around(x, dim)
    if after == 1:
        return (before, 1, size), 0
    return ((size, 1, after), 2) if before == 1 else ((before, size, after), 1)


def pad(g: Graph, tensor: Any, axis: int, ahead: int, behind: int) -> Any:
    """Zeros on either side."""
    sides = [0] * 8
    sides[2 * axis : 2 * axis + 2] = ahead, behind
    return g.call(ggml.ggml_pad_ext, tensor, *sides)


def assembled(g: Graph, parts: list[Any], axis: int) -> Any:
    """Tensors in places of one: the first with room behind it, the others set into that."""
    sizes = [part.contents.ne[axis] for part in parts]
    joined, at = pad(g, parts[0], axis, 0, sum(sizes[1:])), sizes[0]
    steps = joined.contents.nb[:]
    if ggml.ggml_nbytes(joined) >= SET_OFFSET:
        raise Unsupported("tensors of a gigabyte in one: ggml_set has no longer offsets")
    for part, size in zip(parts[1:], sizes[1:], strict=True):
        joined = g.call(ggml.ggml_set_inplace, joined, part, *steps[1:], at * steps[axis])
        at += size
    return joined


def roll(g: Graph, x: Value, shifts: list[int], dims: list[int]) -> Value:
    """ggml_roll takes shifts of less than a dimension."""
    tensor, by = g.packed(x, *x.shape), [0, 0, 0, 0]
    for shift, dim in zip(shifts, dims, strict=True):
        by[len(x.shape) - 1 - dim] = shift % x.shape[dim]
    return g.made(g.call(ggml.ggml_roll, tensor, *by), x.shape, x.dtype)


def select(g: Graph, x: Value, dim: int, index: Value) -> Value:
    """Rows by number, the same in every batch."""
    if x.dtype != "float32":
        x = g.floats(x)
    before, size, after = around(x, dim)
    at, count = g.indices(index), math.prod(index.shape)
    if before > 1:
        at = g.call(ggml.ggml_repeat_4d, at, count, before, 1, 1)
    found = g.call(ggml.ggml_get_rows, g.packed(x, before, size, after), at)
    return g.made(found, [*x.shape[:dim], *index.shape, *x.shape[dim + 1 :]])


def beside(x: Value, dim: int, at: Value) -> None:
    """Refuse an index that is smaller than what it reads in another dimension too."""
    if resize(x.shape, dim, 0) != resize(at.shape, dim, 0):
        raise Unsupported("an index with other sizes beside its dimension")


def gather(g: Graph, x: Value, dim: int, at: Value) -> Value:
    """Rows of one element, looked up in each batch."""
    beside(x, dim, at)
    (moved, back), (where, _) = to_end(g, x, [dim]), to_end(g, at, [dim])
    count = math.prod(x.shape) // x.shape[dim]
    rows = g.packed(moved, count, x.shape[dim], 1)
    number = g.resized(g.indices(where), count, at.shape[dim])
    return g.permute(g.made(g.call(ggml.ggml_get_rows, rows, number), where.shape, x.dtype), back)


def scatter_add(g: Graph, x: Value, dim: int, at: Value, source: Value) -> Value:
    """Rows of one element, numbered through all batches, by the gradient of a look-up."""
    beside(x, dim, at)
    if math.prod(x.shape) >= EXACT:
        raise Unsupported("2^24 elements and more: ggml computes an index in floats")
    if source.shape != at.shape:
        source = cut(g, source, dim, 0, at.shape[dim], 1)
    (moved, back), (where, _), (values, _) = (to_end(g, value, [dim]) for value in (x, at, source))
    count, size = math.prod(x.shape) // x.shape[dim], x.shape[dim]
    first = g.tensor(g.constant(np.arange(0, count * size, size, dtype=np.float32)[:, None]))
    number = g.call(ggml.ggml_add, g.packed(g.floats(where), count, at.shape[dim]), first)
    like = g.call(ggml.ggml_new_tensor_2d, ggml.GGML_TYPE_F32, 1, count * size)
    flat = g.resized(g.cast(number), count * at.shape[dim])
    added = g.call(ggml.ggml_get_rows_back, g.packed(values, count * at.shape[dim], 1), flat, like)
    result = g.call(ggml.ggml_add, g.packed(moved, count, size), g.resized(added, count, size))
    return g.permute(g.made(result, moved.shape), back)


def index_put(g: Graph, x: Value, indices: list[Value | None], values: Value, accumulate: bool) -> Value:
    """Rows added to rows: the gradient of a look-up."""
    at = indices[0]
    if len(indices) != 1 or at is None or not accumulate:
        raise Unsupported("other than adding to rows: ggml_get_rows_back does that")
    count, (_, rows, width) = math.prod(at.shape), around(x, 0)
    values = g.grow(values, [*at.shape, *x.shape[1:]])
    like = g.call(ggml.ggml_new_tensor_2d, ggml.GGML_TYPE_F32, width, rows)
    added = g.call(ggml.ggml_get_rows_back, g.packed(values, count, width), g.indices(at), like)
    return g.made(g.call(ggml.ggml_add, g.packed(x, rows, width), added), x.shape)


OPERATORS: dict[str, Callable[..., Value]] = {
    "amax": amax,
    "cat": cat,
    "cumsum": along(cumsum),
    "embedding": lambda g, weight, indices: select(g, weight, 0, indices),
    "expand": lambda g, x, size: g.grow(x, size),
    "gather": gather,
    "index_put": index_put,
    "index_select": select,
    "permute": lambda g, x, dims: g.permute(x, dims),
    "reshape": lambda g, x, shape: g.reshape(x, shape),
    "roll": roll,
    "scatter_add": scatter_add,
    "slice": cut,
    "softmax": along(softmax),
    "sum": total,
}
