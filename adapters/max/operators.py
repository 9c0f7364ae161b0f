"""MAX's table: what works element by element, moves, reduces and multiplies."""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any

import numpy as np
from max.dtype import DType
from max.graph import DeviceRef, TensorValue, ops

if TYPE_CHECKING:
    from collections.abc import Callable

HOST = DeviceRef.CPU()


def shape(x: TensorValue) -> list[int]:
    """All shapes are fixed."""
    return [int(size) for size in x.shape]


def constant(array: Any, dtype: DType = DType.float32) -> TensorValue:
    """An array as part of the graph; MAX makes one dimension of none."""
    values = np.asarray(array, dtype.to_numpy(), order="C")
    return ops.reshape(ops.constant(values, dtype, HOST), values.shape)


def cut(x: TensorValue, dim: int, start: int, end: int, step: int = 1) -> TensorValue:
    """A slice along one dimension."""
    size = shape(x)[dim]
    if (start, end, step) == (0, size, 1):
        return x
    whole = [slice(None)] * x.rank
    whole[dim] = slice(start, None if end == size else end, step)
    return ops.slice_tensor(x, whole)


def reduction(reduce: Callable[..., TensorValue]) -> Callable[..., TensorValue]:
    """Over a list of dimensions; MAX reduces one at a time and keeps it."""

    def rule(x: TensorValue, dims: list[int], keepdim: bool) -> TensorValue:
        before, gone = shape(x), sorted(dims)
        runs = [gone[:1]]
        for dim in gone[1:]:  # neighbours are one dimension
            runs[-1].append(dim) if dim == runs[-1][-1] + 1 else runs.append([dim])
        for run in filter(None, reversed(runs)):
            now = shape(x)
            merged = [*now[: run[0]], math.prod(now[run[0] : run[-1] + 1]), *now[run[-1] + 1 :]]
            x = reduce(ops.reshape(x, merged) if merged != now else x, axis=run[0])
        after = [1 if dim in gone else size for dim, size in enumerate(before) if keepdim or dim not in gone]
        return ops.reshape(x, after)

    return rule


def expand(x: TensorValue, size: list[int]) -> TensorValue:
    """Dimensions of size 1 repeated, and new ones before them."""
    return ops.broadcast_to(x, size)


def compared(compare: Callable[..., TensorValue]) -> Callable[..., TensorValue]:
    """With a number too; MAX compares no whole ones with one that is not whole."""
    return lambda x, y: compare(ops.cast(x, DType.float32) if isinstance(y, float) else x, y)


def full(size: list[int], value: float, dtype: str) -> TensorValue:
    """One number over and over."""
    return ops.broadcast_to(constant(value, DType[dtype]), size)


def gather(x: TensorValue, dim: int, index: TensorValue) -> TensorValue:
    """Elements along one dimension, each by a number of its own: rows of one vector."""
    for axis, size in enumerate(shape(index)):  # the other dimensions of `index` may be shorter
        x = cut(x, axis, 0, size) if axis != dim else x
    x, index = ops.transpose(x, dim, -1), ops.transpose(index, dim, -1)
    *rows, size = shape(x)
    starts = constant(np.arange(math.prod(rows)).reshape(*rows, 1) * size, DType.int64)
    taken = ops.gather(ops.reshape(x, [-1]), ops.cast(index, DType.int64) + starts, 0)
    return ops.transpose(taken, dim, -1)


def scatter_add(x: TensorValue, dim: int, index: TensorValue, source: TensorValue) -> TensorValue:
    """Numbers added along one dimension; `source` may be longer than `index`."""
    for axis, size in enumerate(shape(index)):
        source = cut(source, axis, 0, size)
    return ops.scatter_add(x, source, index, dim)


def index_put(x: TensorValue, indices: list[TensorValue], values: TensorValue, accumulate: bool) -> TensorValue:
    """Add rows to those that a tensor names."""
    del accumulate
    return ops.scatter_nd_add(x, values, ops.unsqueeze(ops.cast(indices[0], DType.int64), -1))


def rows(x: TensorValue, sizes: list[int]) -> TensorValue:
    """The last dimensions as one."""
    return ops.reshape(x, [*shape(x)[: -len(sizes)], -1]) if len(sizes) > 1 else x


def layer_norm(x: TensorValue, sizes: list[int], weight: TensorValue, bias: TensorValue, eps: float) -> TensorValue:
    """Over the last dimensions."""
    made = ops.layer_norm(rows(x, sizes), rows(weight, sizes), rows(bias, sizes), eps)
    return ops.reshape(made, shape(x))


def rms_norm(x: TensorValue, sizes: list[int], weight: TensorValue, eps: float) -> TensorValue:
    """Over the last dimensions."""
    return ops.reshape(ops.rms_norm(rows(x, sizes), rows(weight, sizes), eps), shape(x))


def attention(
    query: TensorValue, key: TensorValue, value: TensorValue,
    mask: TensorValue | None, is_causal: bool, scale: float, enable_gqa: bool,
) -> TensorValue:  # fmt: skip
    """(B, H, S, D); the heads of a group are rows of one product."""
    del enable_gqa  # the heads tell
    (batch, heads, length, width), (groups, keys) = shape(query), shape(key)[1:3]
    each = heads // groups
    rows = ops.reshape(query, [batch, groups, each * length, width]) if each > 1 else query
    if each * length == 1:  # MAX 26.7 dies of a SIGSEGV where it makes flash attention of products of one row each
        rows, key, value = (ops.reshape(x, [batch * heads, -1, shape(x)[-1]]) for x in (rows, key, value))
    scores = ops.matmul(rows, ops.transpose(key, -1, -2)) * scale
    bias = added(mask, is_causal, length, keys, scores.dtype)
    if bias is not None:
        scores = ops.reshape(ops.reshape(scores, [batch, heads, length, keys]) + bias, shape(scores))
    return ops.reshape(ops.matmul(ops.softmax(scores), value), [batch, heads, length, shape(value)[-1]])


def added(mask: TensorValue | None, is_causal: bool, length: int, keys: int, dtype: DType) -> TensorValue | None:
    """What is added to the scores."""
    least = float(np.finfo(dtype.to_numpy()).min)
    if is_causal:
        return constant(np.where(np.tri(length, keys, dtype=bool), 0, least), dtype)
    if mask is None or mask.dtype != DType.bool:
        return mask
    return ops.where(mask, constant(0, dtype), constant(least, dtype))


SAME = (
    "abs cos cumsum erf exp log log1p logical_and logical_not logical_or matmul pow relu rsqrt sigmoid silu sin sqrt "
    "tanh where"
)
"""Operators that MAX has under the same name."""

OPERATORS: dict[str, Callable[..., Any]] = {
    **{name: getattr(operator, name) for name in ("add", "sub", "mul", "neg")},
    **{name: compared(getattr(operator, name)) for name in ("lt", "le", "gt", "ge")},
    "eq": compared(ops.equal),
    "ne": compared(ops.not_equal),
    **{name: getattr(ops, name) for name in SAME.split()},
    "amax": reduction(ops.max),
    "cat": ops.concat,
    "div": ops.div,
    "embedding": lambda weight, indices: ops.gather(weight, indices, 0),
    "expand": expand,
    "floor_divide": ops.floor_div,
    "full": full,
    "gather": gather,
    "gelu": ops.gelu,
    "index_put": index_put,
    "index_select": lambda x, dim, at: ops.gather(x, at, dim),
    "layer_norm": layer_norm,
    "log_softmax": ops.logsoftmax,
    "maximum": ops.max,
    "minimum": ops.min,
    "permute": ops.permute,
    "reshape": ops.reshape,
    "rms_norm": rms_norm,
    "scaled_dot_product_attention": attention,
    "scatter_add": scatter_add,
    "slice": cut,
    "softmax": ops.softmax,
    "sum": reduction(ops.sum),
    "to": lambda x, dtype: ops.cast(x, DType[dtype]),
}
