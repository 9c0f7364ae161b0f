"""MAX's table: what works element by element, moves, reduces and multiplies."""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any

import numpy as np
from max.dtype import DType
from max.graph import DeviceRef, TensorValue, ops

from pytest_inferena import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

HOST = DeviceRef.CPU()


def shape(x: TensorValue) -> list[int]:
    """All shapes are fixed."""
    return [int(size) for size in x.shape]


def constant(array: Any, dtype: DType = DType.float32) -> TensorValue:
    """An array as part of the graph."""
    return ops.constant(np.asarray(array, dtype.to_numpy(), order="C"), dtype, HOST)


def cut(x: TensorValue, dim: int, start: int, end: int, step: int = 1) -> TensorValue:
    """A slice along one dimension."""
    size = shape(x)[dim]
    if (start, end, step) == (0, size, 1):
        return x
    whole = [slice(None)] * x.rank
    whole[dim] = slice(start, None if end == size else end, step)
    return ops.slice_tensor(x, whole)


def pick(x: TensorValue, dim: int, where: np.ndarray[Any, Any]) -> TensorValue:
    """Elements of one dimension by constant numbers."""
    return ops.gather(x, constant(where, DType.int64), dim)


def reduction(reduce: Callable[..., TensorValue]) -> Callable[..., TensorValue]:
    """Over a list of dimensions, or one; MAX reduces one at a time and keeps it."""

    def rule(x: TensorValue, dims: list[int] | int, keepdim: bool) -> TensorValue:
        before, gone = shape(x), [dims] if isinstance(dims, int) else sorted(dims)
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


def any_(x: TensorValue, dim: int, keepdim: bool) -> TensorValue:
    """Whether any element along a dimension is true."""
    return reduction(ops.max)(ops.cast(x, DType.int32), dim, keepdim) > 0


def expand(x: TensorValue, size: list[int]) -> TensorValue:
    """Dimensions of size 1 repeated, and new ones before them."""
    return ops.broadcast_to(x, size)


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


def index(x: TensorValue, indices: list[TensorValue | None]) -> TensorValue:
    """By one tensor along one dimension, or by tensors for the first dimensions."""
    given = [value for value in indices if value is not None]
    if len(given) == 1:
        return ops.gather(x, given[0], indices.index(given[0]) if indices[0] is None else 0)
    if indices[: len(given)] != given:
        raise Unsupported("index with tensors that skip a dimension")
    return ops.gather_nd(x, places(given))


def places(given: list[TensorValue]) -> TensorValue:
    """Index tensors as (…, dimensions)."""
    common = np.broadcast_shapes(*(tuple(shape(value)) for value in given))
    return ops.stack([ops.broadcast_to(ops.cast(value, DType.int64), common) for value in given], -1)


def index_put(x: TensorValue, indices: list[TensorValue], values: TensorValue, accumulate: bool) -> TensorValue:
    """Add rows to those that a tensor names."""
    if not accumulate or len(indices) != 1:
        raise Unsupported("index_put other than adding rows")
    return ops.scatter_nd_add(x, values, ops.unsqueeze(ops.cast(indices[0], DType.int64), -1))


def slice_scatter(x: TensorValue, source: TensorValue, dim: int, start: int, end: int, step: int) -> TensorValue:
    """A tensor with a part of it replaced: chosen from both, one behind the other."""
    size = shape(x)[dim]
    where = np.arange(size)
    replaced = range(start, end, step)
    where[list(replaced)] = size + np.arange(len(replaced))
    return pick(ops.concat([x, source], dim), dim, where)


def roll(x: TensorValue, shifts: list[int], dims: list[int]) -> TensorValue:
    """Along several dimensions."""
    for shift, dim in zip(shifts, dims, strict=True):
        x = pick(x, dim, np.roll(np.arange(shape(x)[dim]), shift))
    return x


def flip(x: TensorValue, dims: list[int]) -> TensorValue:
    """Backwards along dimensions."""
    for dim in dims:
        x = pick(x, dim, np.arange(shape(x)[dim])[::-1])
    return x


def power(x: Any, exponent: Any) -> TensorValue:
    """A number or a tensor on either side."""
    return x * x if isinstance(exponent, int | float) and exponent == 2 else ops.pow(x, exponent)


def clamp(x: TensorValue, low: float | None, high: float | None) -> TensorValue:
    """Numbers or null."""
    x = x if low is None else ops.max(x, constant(low, x.dtype))
    return x if high is None else ops.min(x, constant(high, x.dtype))


def linear(x: TensorValue, weight: TensorValue, bias: TensorValue | None) -> TensorValue:
    """Weights (out, in); all rows in one matrix."""
    rows = ops.reshape(x, [-1, shape(x)[-1]]) if x.rank != 2 else x
    result = ops.matmul(rows, ops.transpose(weight, 0, 1))
    result = result if bias is None else result + bias
    return ops.reshape(result, [*shape(x)[:-1], shape(weight)[0]]) if x.rank != 2 else result


def layer_norm(
    x: TensorValue, sizes: list[int], weight: TensorValue | None, bias: TensorValue | None, eps: float
) -> TensorValue:
    """Over the last dimensions, flattened where there are several."""
    width = math.prod(sizes)
    flat = ops.reshape(x, [*shape(x)[: -len(sizes)], width]) if len(sizes) > 1 else x
    one = constant(np.ones(width), x.dtype) if weight is None else ops.reshape(weight, [width])
    none = constant(np.zeros(width), x.dtype) if bias is None else ops.reshape(bias, [width])
    return ops.reshape(ops.layer_norm(flat, one, none, eps), shape(x))


def native_layer_norm(
    x: TensorValue, sizes: list[int], weight: TensorValue | None, bias: TensorValue | None, eps: float
) -> tuple[TensorValue, TensorValue, TensorValue]:
    """Also the mean, and the reciprocal of the deviation."""
    axes, mean = list(range(x.rank - len(sizes), x.rank)), reduction(ops.mean)
    middle = mean(x, axes, True)
    centred = x - middle
    scale = ops.rsqrt(mean(centred * centred, axes, True) + eps)
    result = centred * scale
    result = result if weight is None else result * weight
    return result if bias is None else result + bias, middle, scale


def rms_norm(x: TensorValue, sizes: list[int], weight: TensorValue | None, eps: float) -> TensorValue:
    """Over the last dimensions, flattened where there are several."""
    width = math.prod(sizes)
    flat = ops.reshape(x, [*shape(x)[: -len(sizes)], width]) if len(sizes) > 1 else x
    one = constant(np.ones(width), x.dtype) if weight is None else ops.reshape(weight, [width])
    return ops.reshape(ops.rms_norm(flat, one, eps), shape(x))


def rotary_embedding(x: TensorValue, cos: TensorValue, sin: TensorValue) -> TensorValue:
    """Rotate pairs (i, i + half) of (B, H, S, D) by tables (S, D / 2)."""
    half = shape(x)[-1] // 2
    first, second = cut(x, 3, 0, half), cut(x, 3, half, 2 * half)
    return ops.concat([first * cos - second * sin, second * cos + first * sin], -1)


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


def cross_entropy_loss(
    x: TensorValue, target: TensorValue, weight: TensorValue | None,
    reduction_: int, ignore_index: int, label_smoothing: float,
) -> TensorValue:  # fmt: skip
    """Of (N, classes) and class numbers (N,), the mean of those that are not ignored."""
    if weight is not None or reduction_ != 1 or label_smoothing or x.rank != 2 or target.rank != 1:
        raise Unsupported("cross_entropy_loss other than the mean over (N, classes) and class numbers")
    kept = ops.not_equal(target, constant(ignore_index, target.dtype))
    label = ops.where(kept, target, constant(0, target.dtype))
    chosen = ops.reshape(gather(ops.logsoftmax(x), 1, ops.unsqueeze(label, 1)), [-1])
    total = reduction(ops.sum)(ops.where(kept, chosen, constant(0, x.dtype)), 0, False)
    return -total / reduction(ops.sum)(ops.cast(kept, x.dtype), 0, False)


def mse_loss(x: TensorValue, target: TensorValue, reduce: int) -> TensorValue:
    """The mean, the sum or each square."""
    squares = (x - target) * (x - target)
    return squares if reduce == 0 else reduction((ops.mean, ops.sum)[reduce - 1])(squares, [*range(x.rank)], False)


SAME = (
    "abs cos cumsum erf exp log log1p logical_and logical_not logical_or matmul relu rsqrt sigmoid silu sin sqrt "
    "tanh where"
)
"""Operators that MAX has under the same name."""

OPERATORS: dict[str, Callable[..., Any]] = {
    **{name: getattr(operator, name) for name in ("add", "sub", "mul", "neg", "lt", "le", "gt", "ge")},
    **{name: getattr(ops, name) for name in SAME.split()},
    "amax": reduction(ops.max),
    "any": any_,
    "cat": ops.concat,
    "clamp": clamp,
    "cross_entropy_loss": cross_entropy_loss,
    "detach": lambda x: x,
    "div": ops.div,
    "embedding": lambda weight, indices: ops.gather(weight, indices, 0),
    "eq": ops.equal,
    "expand": expand,
    "flip": flip,
    "floor_divide": ops.floor_div,
    "full": full,
    "gather": gather,
    "gelu": ops.gelu,
    "index": index,
    "index_put": index_put,
    "index_select": lambda x, dim, at: ops.gather(x, at, dim),
    "layer_norm": layer_norm,
    "linear": linear,
    "log_softmax": ops.logsoftmax,
    "maximum": ops.max,
    "mean": reduction(ops.mean),
    "minimum": ops.min,
    "mse_loss": mse_loss,
    "native_layer_norm": native_layer_norm,
    "ne": ops.not_equal,
    "permute": ops.permute,
    "pow": power,
    "reshape": ops.reshape,
    "rms_norm": rms_norm,
    "roll": roll,
    "rotary_embedding": rotary_embedding,
    "scaled_dot_product_attention": attention,
    "scatter_add": lambda x, dim, at, source: ops.scatter_add(x, source, at, dim),
    "slice": cut,
    "slice_scatter": slice_scatter,
    "softmax": ops.softmax,
    "sum": reduction(ops.sum),
    "to": lambda x, dtype: ops.cast(x, DType[dtype]),
}
