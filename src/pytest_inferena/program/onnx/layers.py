"""Operators of neural networks: products, convolutions, norms, attention, losses."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_inferena.program.onnx.shapes import cut
from pytest_inferena.worker import Unsupported

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
    if isinstance(padding, str):
        raise Unsupported(f"a convolution with padding={padding!r}")
    rank = len(b.out.shape) - 2
    stride, padding, dilation = ([*value] * (rank if len(value) == 1 else 1) for value in (stride, padding, dilation))
    operands = [b.tensor(x), b.tensor(weight)] + ([b.tensor(bias)] if bias else [])
    common: dict[str, Any] = {"strides": stride, "pads": [*padding, *padding], "dilations": dilation, "group": groups}
    if transposed:
        return b.op("ConvTranspose", *operands, **common, output_padding=output_padding)
    return b.op("Conv", *operands, **common)


def forward_convolution(
    b: Builder, x: Any, weight: Any, bias: Any, stride: list[int], padding: list[int], dilation: list[int], groups: int
) -> Any:
    """conv1d, conv2d, conv3d."""
    return convolution(b, x, weight, bias, stride, padding, dilation, False, [], groups)


def batch_norm(b: Builder, x: Any, weight: Any, bias: Any, mean: Any, var: Any, eps: float) -> Any:
    """On stored statistics."""
    channels = b.shape(mean)
    scale, shift = (_or(b, value, number, channels) for value, number in ((weight, 1), (bias, 0)))
    return b.op("BatchNormalization", b.tensor(x), scale, shift, b.tensor(mean), b.tensor(var), epsilon=eps)


def _or(b: Builder, value: Any, number: float, shape: tuple[int, ...]) -> str:
    """A tensor; where it is absent, a tensor of one number."""
    return b.tensor(value) if value else b.constant(np.full(shape, number), b.out.dtype)


def layer_norm(b: Builder, x: Any, shape: list[int], weight: Any, bias: Any, eps: float) -> Any:
    """Over the last dimensions."""
    axis, name = -len(shape), b.tensor(x)
    if "LayerNormalization" in b.fused:
        operands = [_or(b, weight, 1, tuple(shape))] + ([b.tensor(bias)] if bias else [])
        return b.op("LayerNormalization", name, *operands, axis=axis, epsilon=eps)
    axes = b.ints(range(axis, 0))
    centred = b.op("Sub", name, b.op("ReduceMean", name, axes))
    return _scaled(b, centred, axes, eps, weight, bias)


def native_layer_norm(b: Builder, x: Any, shape: list[int], weight: Any, bias: Any, eps: float) -> Any:
    """The norm, the mean, and the reciprocal of the deviation."""
    axis, name, axes = -len(shape), b.tensor(x), b.ints(range(-len(shape), 0))
    if "LayerNormalization" in b.fused:
        operands = [_or(b, weight, 1, tuple(shape))] + ([b.tensor(bias)] if bias else [])
        return b.op("LayerNormalization", name, *operands, outputs=3, axis=axis, epsilon=eps)
    mean = b.op("ReduceMean", name, axes)
    centred = b.op("Sub", name, mean)
    square = b.op("ReduceMean", b.op("Mul", centred, centred), axes)
    scale = b.op("Reciprocal", b.op("Sqrt", b.op("Add", square, b.constant(eps, b.out.dtype))))
    result = b.op("Mul", centred, scale)
    result = b.op("Mul", result, b.tensor(weight)) if weight else result
    return b.op("Add", result, b.tensor(bias)) if bias else result, mean, scale


def rms_norm(b: Builder, x: Any, shape: list[int], weight: Any, eps: float) -> Any:
    """Over the last dimensions."""
    axis, name = -len(shape), b.tensor(x)
    if "RMSNormalization" in b.fused:
        return b.op("RMSNormalization", name, _or(b, weight, 1, tuple(shape)), axis=axis, epsilon=eps)
    return _scaled(b, name, b.ints(range(axis, 0)), eps, weight, None)


def _scaled(b: Builder, name: str, axes: str, eps: float, weight: Any, bias: Any) -> str:
    """Divide by the root of the mean square, then weight and bias."""
    square = b.op("ReduceMean", b.op("Mul", name, name), axes)
    result = b.op("Div", name, b.op("Sqrt", b.op("Add", square, b.constant(eps, b.out.dtype))))
    result = b.op("Mul", result, b.tensor(weight)) if weight else result
    return str(b.op("Add", result, b.tensor(bias)) if bias else result)


def group_norm(b: Builder, x: Any, groups: int, weight: Any, bias: Any, eps: float) -> Any:
    """Over groups of channels of (B, C, …): a layer norm of (B, groups, rest), then weight and bias by channel."""
    shape, name = b.shape(x), b.tensor(x)
    if "GroupNormalization" in b.fused:
        channels = (shape[1],)
        operands = (_or(b, weight, 1, channels), _or(b, bias, 0, channels))
        return b.op("GroupNormalization", name, *operands, num_groups=groups, epsilon=eps)
    rest = math.prod(shape[1:]) // groups
    grouped = b.op("Reshape", name, b.ints([shape[0], groups, rest]))
    if "LayerNormalization" in b.fused:
        ones = b.constant(np.ones(rest), b.out.dtype)
        result = b.op("LayerNormalization", grouped, ones, axis=-1, epsilon=eps)
    else:
        centred = b.op("Sub", grouped, b.op("ReduceMean", grouped, b.ints([-1])))
        result = _scaled(b, centred, b.ints([-1]), eps, None, None)
    result = b.op("Reshape", result, b.ints(shape))
    for kind, value in (("Mul", weight), ("Add", bias)):
        if value:
            channels = b.op("Reshape", b.tensor(value), b.ints([shape[1], *[1] * (len(shape) - 2)]))
            result = b.op(kind, result, channels)
    return result


def rotary_embedding(b: Builder, x: Any, cos: Any, sin: Any) -> Any:
    """Rotate pairs (i, i + half) of (B, H, S, D) by tables (S, D / 2)."""
    batch, _, length, width = b.shape(x)
    name, tables = b.tensor(x), (b.tensor(cos), b.tensor(sin))
    if "RotaryEmbedding" in b.fused:
        return b.op("RotaryEmbedding", name, *tables, b.constant([range(length)] * batch, "int64"))
    first, second = (cut(b, name, 3, start, start + width // 2) for start in (0, width // 2))
    parts = [
        b.op(kind, b.op("Mul", one, tables[0]), b.op("Mul", other, tables[1]))
        for kind, one, other in (("Sub", first, second), ("Add", second, first))
    ]
    return b.op("Concat", *parts, axis=-1)


def cross_entropy_loss(
    b: Builder, x: Any, target: Any, weight: Any, reduction: int, ignore_index: int, label_smoothing: float
) -> Any:
    """Of (N, classes) and class numbers (N,), the mean of those that are not ignored."""
    if weight is not None or reduction != 1 or label_smoothing or len(b.shape(x)) != 2 or len(b.shape(target)) != 1:
        raise Unsupported("cross_entropy_loss other than the mean over (N, classes) and class numbers")
    kept = b.op("Not", b.op("Equal", b.tensor(target), b.constant(ignore_index, "int64")))
    label = b.op("Where", kept, b.tensor(target), b.constant(0, "int64"))
    logs = b.op("LogSoftmax", b.tensor(x), axis=1)
    chosen = b.op("GatherElements", logs, b.op("Unsqueeze", label, b.ints([1])), axis=1)
    chosen = b.op("Where", kept, b.op("Squeeze", chosen, b.ints([1])), b.constant(0, b.out.dtype))
    count = b.op("ReduceSum", b.op("Cast", kept, to=1), keepdims=0)
    return b.op("Neg", b.op("Div", b.op("ReduceSum", chosen, keepdims=0), count))


def mse_loss(b: Builder, x: Any, target: Any, reduction: int) -> Any:
    """The mean, the sum or each square."""
    difference = b.op("Sub", b.tensor(x), b.tensor(target))
    square = b.op("Mul", difference, difference)
    return square if reduction == 0 else b.op(("ReduceMean", "ReduceSum")[reduction - 1], square, keepdims=0)


OPERATORS: dict[str, Rule] = {
    "batch_norm": batch_norm,
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), forward_convolution),
    "convolution": convolution,
    "cross_entropy_loss": cross_entropy_loss,
    "group_norm": group_norm,
    "layer_norm": layer_norm,
    "linear": linear,
    "log_softmax": lambda b, x, dim: b.op("LogSoftmax", b.tensor(x), axis=dim),
    "matmul": matmul,
    "mse_loss": mse_loss,
    "native_layer_norm": native_layer_norm,
    "rms_norm": rms_norm,
    "rotary_embedding": rotary_embedding,
    "softmax": lambda b, x, dim: b.op("Softmax", b.tensor(x), axis=dim),
}
