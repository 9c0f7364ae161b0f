"""GGML's table, fourth part: products, norms and attention."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from ggml import ggml

from pytest_inferena import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

    from .graph import Graph, Value


def rows(g: Graph, x: Value, width: int) -> Any:
    """As rows of some length."""
    return g.packed(x, math.prod(x.shape) // width, width)


def matmul(g: Graph, a: Value, b: Value) -> Value:
    """Rows by rows, as ggml multiplies: the second operand is turned; one that was turned before is as it was."""
    if min(len(a.shape), len(b.shape)) < 2:
        raise Unsupported("a product of vectors: this table has matrices")
    shape = (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
    if len(b.shape) == 2:
        first = rows(g, a, a.shape[-1])
    else:
        first = g.natural(g.grow(a, (*shape[:-1], a.shape[-1])))
        first = first if ggml.ggml_is_contiguous(first) else g.call(ggml.ggml_cont, first)
    second = g.call(ggml.ggml_transpose, g.natural(b, rows=False))
    if second.contents.nb[0] != ggml.ggml_element_size(second):
        second = g.call(ggml.ggml_cont, second)
    return g.made(g.call(ggml.ggml_mul_mat, second, first), shape)


def affine(g: Graph, x: Any, weight: Any, bias: Any) -> Any:
    """Times weight, plus bias, where there are any."""
    x = x if weight is None else g.call(ggml.ggml_mul, x, weight)
    return x if bias is None else g.call(ggml.ggml_add, x, bias)


def layer_norm(g: Graph, x: Value, shape: list[int], weight: Value | None, bias: Value | None, eps: float) -> Value:
    """Over the last dimensions."""
    scale, shift = (None if part is None else rows(g, part, math.prod(shape)) for part in (weight, bias))
    normed = g.call(ggml.ggml_norm, rows(g, x, math.prod(shape)), eps)
    return g.made(affine(g, normed, scale, shift), x.shape)


def native_layer_norm(
    g: Graph, x: Value, shape: list[int], weight: Value | None, bias: Value | None, eps: float
) -> tuple[Value, Value, Value]:
    """With the mean and 1 / √(variance + eps)."""
    result = layer_norm(g, x, shape, weight, bias, eps)
    kept = (*x.shape[: -len(shape)], *(1 for _ in shape))
    flat = rows(g, x, math.prod(shape))
    mean = g.call(ggml.ggml_mean, flat)
    variance = g.call(ggml.ggml_mean, g.call(ggml.ggml_sqr, g.call(ggml.ggml_sub, flat, mean)))
    deviation = g.call(ggml.ggml_sqrt, g.call(ggml.ggml_scale_bias, variance, 1.0, eps))
    ones = g.tensor(g.constant(np.ones((math.prod(kept), 1), np.float32)))
    return result, g.made(mean, kept), g.made(g.call(ggml.ggml_div, ones, deviation), kept)


def rms_norm(g: Graph, x: Value, shape: list[int], weight: Value | None, eps: float) -> Value:
    """Over the last dimensions."""
    width = math.prod(shape)
    scale = None if weight is None else rows(g, weight, width)
    return g.made(affine(g, g.call(ggml.ggml_rms_norm, rows(g, x, width), eps), scale, None), x.shape)


def channels(g: Graph, x: Value, dims: int) -> Any:
    """A vector over channels, to be repeated over (B, C, …)."""
    return g.packed(x, x.shape[0], *(1,) * dims)


def group_norm(g: Graph, x: Value, groups: int, weight: Value | None, bias: Value | None, eps: float) -> Value:
    """Over groups of the channels of (B, C, …)."""
    image = g.packed(x, *x.shape[:2], *(x.shape[2:] if len(x.shape) == 4 else (1, math.prod(x.shape[2:]))))
    normed = g.call(ggml.ggml_group_norm, image, groups, eps)
    scale, shift = (None if part is None else channels(g, part, 2) for part in (weight, bias))
    return g.made(affine(g, normed, scale, shift), x.shape)


def rotary_embedding(g: Graph, x: Value, cos: Value, sin: Value) -> Value:
    """The sum of x · (cos, cos), and x with its halves swapped · (-sin, sin)."""
    if cos.data is None or sin.data is None:
        raise Unsupported("tables that are computed: this table has them as constants")
    near = g.constant(np.concatenate((cos.data, cos.data), -1))
    far = g.constant(np.concatenate((-sin.data, sin.data), -1))
    image = g.packed(x, *x.shape)
    swapped = g.call(ggml.ggml_roll, image, x.shape[-1] // 2, 0, 0, 0)
    first, second = (
        g.call(ggml.ggml_mul, part, g.packed(table, *table.shape)) for part, table in ((image, near), (swapped, far))
    )
    return g.made(g.call(ggml.ggml_add, first, second), x.shape)


LOWEST = -1e38
"""Added to a score; -∞ would make NaN of a row that has nothing else."""


def attention(
    g: Graph,
    query: Value,
    key: Value,
    value: Value,
    mask: Value | None,
    is_causal: bool,
    scale: float,
    enable_gqa: bool,
) -> Value:
    """Scores, their softmax in 32 bits, and a product with the values turned; fewer heads of keys are repeated."""
    del enable_gqa  # ggml looks at the heads
    (batch, heads, length), width = query.shape[:3], value.shape[3]
    if {key.shape[0], value.shape[0]} != {batch} or heads % key.shape[1] or key.shape[:3] != value.shape[:3]:
        raise Unsupported("keys and values in other numbers than their queries")
    scores = g.call(ggml.ggml_mul_mat, g.natural(key), g.packed(query, *query.shape))
    added = bias(g, mask, is_causal, length, key.shape[2])
    weights = g.call(ggml.ggml_soft_max_ext, scores, added, scale, 0.0)
    turned = g.permute(value, [0, 1, 3, 2])
    result = g.call(ggml.ggml_mul_mat, g.natural(turned), weights)
    if mask is not None and mask.dtype == "bool":
        result = emptied(g, result, mask, length)
    return g.made(result, (batch, heads, length, width))


def emptied(g: Graph, result: Any, mask: Value, length: int) -> Any:
    """Zeros for queries that may attend to nothing, where a softmax of lowest numbers gives the mean of all values."""
    lead = mask.shape[:-1] if len(mask.shape) > 1 else (length,)
    if mask.data is not None and (sees := mask.data.any(-1)).all():
        return result
    if mask.data is not None:
        seen = g.tensor(g.constant(np.broadcast_to(sees, lead)[..., None].astype(np.float32)))
    else:
        seen = g.call(ggml.ggml_step, g.call(ggml.ggml_sum_rows, g.packed(mask, *mask.shape)))
    return g.call(ggml.ggml_mul, result, seen)


def bias(g: Graph, mask: Value | None, is_causal: bool, length: int, keys: int) -> Any:
    """What is added to the scores: 0 or so little that it is nothing, or the mask's own numbers, at least (S, T)."""
    if is_causal:
        triangle = np.tril(np.ones((length, keys), bool))
        return g.tensor(g.constant(np.where(triangle, np.float32(0), np.float32(-np.inf))))
    if mask is None:
        return None
    whole = g.grow(mask, (*mask.shape[:-2], length, keys) if len(mask.shape) > 1 else (length, keys))
    if mask.dtype != "bool":
        return g.packed(whole, *whole.shape)
    if whole.data is not None:
        return g.tensor(g.constant(np.where(whole.data, np.float32(0), np.float32(LOWEST))))
    return g.call(ggml.ggml_scale_bias, g.packed(whole, *whole.shape), -LOWEST, LOWEST)


OPERATORS: dict[str, Callable[..., Any]] = {
    "group_norm": group_norm,
    "layer_norm": layer_norm,
    "matmul": matmul,
    "native_layer_norm": native_layer_norm,
    "rms_norm": rms_norm,
    "rotary_embedding": rotary_embedding,
    "scaled_dot_product_attention": attention,
}
