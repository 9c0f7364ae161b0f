"""Scaled dot product attention, as ONNX's own operator or as products."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_inferena.program.onnx.builder import Builder


def attention(
    b: Builder, query: Any, key: Any, value: Any, mask: Any, is_causal: bool, scale: float, enable_gqa: bool
) -> Any:
    """(B, H, S, D); key and value may have fewer heads."""
    del enable_gqa  # the heads tell
    if "Attention" in b.fused:
        operands = [b.tensor(tensor) for tensor in (query, key, value)] + ([b.tensor(mask)] if mask else [])
        return b.op("Attention", *operands, scale=scale, is_causal=int(is_causal))
    batch, heads, length, _ = b.shape(query)
    groups, keys = b.shape(key)[1:3]
    each = heads // groups
    rows = b.tensor(query)
    if each > 1:  # the heads of a group as rows of one product
        rows = b.op("Reshape", rows, b.ints([batch, groups, each * length, b.shape(query)[3]]))
    turned = b.op("Transpose", b.tensor(key), perm=[0, 1, 3, 2])
    scores = b.op("Mul", b.op("MatMul", rows, turned), b.constant(scale, b.out.dtype))
    bias = _bias(b, mask, is_causal, length, keys)
    if bias and each > 1:
        scores = b.op("Reshape", scores, b.ints([batch, heads, length, keys]))
    scores = b.op("Softmax", b.op("Add", scores, bias) if bias else scores, axis=-1)
    if bias and each > 1:
        scores = b.op("Reshape", scores, b.ints([batch, groups, each * length, keys]))
    result = b.op("MatMul", scores, b.tensor(value))
    return b.op("Reshape", result, b.ints(b.out.shape)) if each > 1 else result


def _bias(b: Builder, mask: Any, is_causal: bool, length: int, keys: int) -> str:
    """The tensor that is added to the scores; "" if there is none."""
    least = float(np.finfo(b.out.dtype).min)
    if is_causal:
        return b.constant(np.where(np.tri(length, keys, dtype=bool), 0, least), b.out.dtype)
    if mask is None or b.dtype(mask) != "bool":
        return b.tensor(mask)
    return str(b.op("Where", b.tensor(mask), b.constant(0, b.out.dtype), b.constant(least, b.out.dtype)))


OPERATORS: dict[str, Callable[..., Any]] = {"scaled_dot_product_attention": attention}
