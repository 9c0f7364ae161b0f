"""Operators of neural networks: products, convolutions, norms, attention, losses."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_inferena.program.onnx.builder import Builder

    Rule = Callable[..., Any]


def linear(b: Builder, x: Any, weight: Any, bias: Any) -> Any:
    """Weights are (out, in). Gemm reads them as they are and adds the bias too."""
    rows = int(np.prod(b.shape(x)[:-1]))
    name, width = b.tensor(x), b.shape(x)[-1]
    if len(b.shape(x)) != 2:
        name = b.op("Reshape", name, b.ints([rows, width]))
    operands = [name, b.tensor(weight)] + ([b.tensor(bias)] if bias else [])
    result = b.op("Gemm", *operands, transB=1)
    return result if len(b.out.shape) == 2 else b.op("Reshape", result, b.ints(b.out.shape))


def matmul(b: Builder, x: Any, y: Any) -> Any:
    """Of matrices. A matrix that was transposed before is read untransposed, by Gemm."""
    if len(b.shape(x)) == len(b.shape(y)) == 2:
        transposed = [b.made_by(value, "permute") for value in (x, y)]
        names = [b.tensor(made["self"] if made else value) for made, value in zip(transposed, (x, y), strict=True)]
        return b.op("Gemm", *names, transA=int(transposed[0] is not None), transB=int(transposed[1] is not None))
    return b.op("MatMul", b.tensor(x), b.tensor(y))


def convolution(
    b: Builder, x: Any, weight: Any, bias: Any, stride: list[int], padding: list[int], dilation: list[int],
    transposed: bool, output_padding: list[int], groups: int,
) -> Any:  # fmt: skip
    """(B, C, …) with weights (O, C / groups, …), or (C, O / groups, …) where it is transposed."""
    operands = [b.tensor(x), b.tensor(weight)] + ([b.tensor(bias)] if bias else [])
    common: dict[str, Any] = {"strides": stride, "pads": [*padding, *padding], "dilations": dilation, "group": groups}
    if transposed:
        return b.op("ConvTranspose", *operands, **common, output_padding=output_padding)
    return b.op("Conv", *operands, **common)


def forward_convolution(
    b: Builder, x: Any, weight: Any, bias: Any, stride: list[int], padding: list[int], dilation: list[int], groups: int
) -> Any:
    """conv1d, conv2d."""
    return convolution(b, x, weight, bias, stride, padding, dilation, False, [], groups)


def batch_norm(b: Builder, x: Any, weight: Any, bias: Any, mean: Any, var: Any, eps: float) -> Any:
    """On stored statistics."""
    return b.op("BatchNormalization", *map(b.tensor, (x, weight, bias, mean, var)), epsilon=eps)


def layer_norm(b: Builder, x: Any, shape: list[int], weight: Any, bias: Any, eps: float, outputs: int = 1) -> Any:
    """Over the last dimensions; as `native_layer_norm` also the mean, and the reciprocal of the deviation."""
    operands = [b.tensor(x), _weight(b, weight, shape)] + ([b.tensor(bias)] if bias else [])
    return b.op("LayerNormalization", *operands, outputs=outputs, axis=-len(shape), epsilon=eps)


def rms_norm(b: Builder, x: Any, shape: list[int], weight: Any, eps: float) -> Any:
    """Over the last dimensions."""
    return b.op("RMSNormalization", b.tensor(x), _weight(b, weight, shape), axis=-len(shape), epsilon=eps)


def _weight(b: Builder, value: Any, shape: list[int]) -> str:
    """The weight of a norm, which ONNX has always."""
    return b.tensor(value) if value else b.constant(np.ones(shape), b.out.dtype)


def rotary_embedding(b: Builder, x: Any, cos: Any, sin: Any) -> Any:
    """Rotate pairs (i, i + half) of (B, H, S, D) by tables (S, D / 2)."""
    batch, _, length, _ = b.shape(x)
    places = b.constant([range(length)] * batch, "int64")
    return b.op("RotaryEmbedding", *map(b.tensor, (x, cos, sin)), places)


def attention(
    b: Builder, query: Any, key: Any, value: Any, mask: Any, is_causal: bool, scale: float, enable_gqa: bool
) -> Any:
    """(B, H, S, D); key and value may have fewer heads. A mask has to have a value for each query and key.

    ONNX Runtime takes the lowest number of a mask for -inf: a query that has it for every key would get 0 and no mean.
    """
    del enable_gqa  # the heads tell
    operands = [b.tensor(tensor) for tensor in (query, key, value, mask) if tensor is not None]
    pairs = (b.shape(query)[-2], b.shape(key)[-2])
    if mask is not None and b.dtype(mask) != "bool":
        lowest = [b.constant(factor * float(np.finfo(np.float32).min), "float32") for factor in (1, 0.5)]
        operands[-1] = b.op("Where", b.op("Equal", operands[-1], lowest[0]), lowest[1], operands[-1])
    if mask is not None and b.shape(mask)[-2:] != pairs:
        operands[-1] = b.op("Expand", operands[-1], b.ints([*b.shape(mask)[:-2], *pairs]))
    return b.op("Attention", *operands, scale=scale, is_causal=int(is_causal))


OPERATORS: dict[str, Rule] = {
    "batch_norm": batch_norm,
    **dict.fromkeys(("conv1d", "conv2d"), forward_convolution),
    "convolution": convolution,
    "layer_norm": layer_norm,
    "linear": linear,
    "log_softmax": lambda b, x, dim: b.op("LogSoftmax", b.tensor(x), axis=dim),
    "matmul": matmul,
    "native_layer_norm": partial(layer_norm, outputs=3),
    "rms_norm": rms_norm,
    "rotary_embedding": rotary_embedding,
    "scaled_dot_product_attention": attention,
    "softmax": lambda b, x, dim: b.op("Softmax", b.tensor(x), axis=dim),
}
