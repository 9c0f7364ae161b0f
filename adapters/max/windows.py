"""MAX's table: convolutions, pools, resizing and padding, all channels last, and norms by channel."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from max.dtype import DType
from max.graph import TensorValue, ops

from pytest_inferena import Unsupported
from pytest_inferena.worker.windows import counts, nearest, overhang, shares

from .operators import constant, shape

if TYPE_CHECKING:
    from collections.abc import Callable


def convolution(
    x: TensorValue, weight: TensorValue, bias: TensorValue | None, stride: list[int], padding: list[int],
    dilation: list[int], transposed: bool, output_padding: list[int], groups: int,
) -> TensorValue:  # fmt: skip
    """(B, H, W, C) with weights (K, L, C / groups, O), or (B, T, C); transposed, weights (K, L, O / groups, C)."""
    if x.rank == 3:
        x, weight = ops.unsqueeze(x, 1), ops.unsqueeze(weight, 0)
        stride, padding, dilation, output_padding = [1, *stride], [0, *padding], [1, *dilation], [0, *output_padding]
        made = convolution(x, weight, bias, stride, padding, dilation, transposed, output_padding, groups)
        return ops.squeeze(made, 1)
    if transposed:
        if groups > 1:
            raise Unsupported("convolution, transposed, with groups: MAX's conv2d_transpose has none")
        return conv_transposed(x, weight, bias, stride, padding, dilation, output_padding)
    return ops.conv2d(
        x, weight, tuple(stride), tuple(dilation), (padding[0], padding[0], padding[1], padding[1]), groups, bias
    )


def conv_transposed(
    x: TensorValue, weight: TensorValue, bias: TensorValue | None,
    stride: list[int], padding: list[int], dilation: list[int], extra: list[int],
) -> TensorValue:  # fmt: skip
    """A convolution of the image with zeros between its cells, by the weights backwards."""
    kernel = shape(weight)[:2]
    for axis in (0, 1):
        x = spread(x, axis + 1, stride[axis])
    turned = ops.permute(weight, [0, 1, 3, 2])
    for axis in (0, 1):
        if kernel[axis] > 1:
            turned = ops.gather(turned, constant(np.arange(kernel[axis])[::-1], DType.int64), axis)
    edge = [dilation[axis] * (kernel[axis] - 1) - padding[axis] for axis in (0, 1)]
    if min(edge) < 0:
        raise Unsupported("convolution, transposed, with more padding than the kernel is wide")
    pads = (edge[0], edge[0] + extra[0], edge[1], edge[1] + extra[1])
    return ops.conv2d(x, turned, (1, 1), tuple(dilation), pads, 1, bias)


def spread(x: TensorValue, axis: int, stride: int) -> TensorValue:
    """Stride - 1 zeros between the cells along a dimension."""
    if stride == 1:
        return x
    size = shape(x)
    apart = ops.pad(ops.unsqueeze(x, axis + 1), [0, 0] * (axis + 1) + [0, stride - 1] + [0, 0] * (x.rank - axis - 1))
    merged = ops.reshape(apart, [*size[:axis], size[axis] * stride, *size[axis + 1 :]])
    whole = [slice(None)] * x.rank
    whole[axis] = slice(0, (size[axis] - 1) * stride + 1)
    return ops.slice_tensor(merged, whole)


def forward(
    x: TensorValue, weight: TensorValue, bias: TensorValue | None,
    stride: list[int], padding: list[int], dilation: list[int], groups: int,
) -> TensorValue:  # fmt: skip
    """conv1d and conv2d."""
    return convolution(x, weight, bias, stride, padding, dilation, False, [0] * len(stride), groups)


def batch_norm(axis: int) -> Callable[..., TensorValue]:
    """On stored statistics; channels lie along an axis."""

    def rule(
        x: TensorValue, weight: TensorValue, bias: TensorValue, mean: TensorValue, var: TensorValue, eps: float
    ) -> TensorValue:
        scale = weight * ops.rsqrt(var + eps)
        shift = bias - mean * scale
        sizes = [-1] if axis == -1 else [-1, *[1] * (x.rank - 2)]
        return x * ops.reshape(scale, sizes) + ops.reshape(shift, sizes)

    return rule


def group_norm(
    x: TensorValue, groups: int, weight: TensorValue | None, bias: TensorValue | None, eps: float
) -> TensorValue:
    """Over groups of channels of (B, C, …), by MAX's own operator."""
    channels = shape(x)[1]
    one = constant(np.ones(channels)) if weight is None else weight
    none = constant(np.zeros(channels)) if bias is None else bias
    return ops.group_norm(x, one, none, groups, eps)


def cells(x: TensorValue, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int],
          ceil_mode: bool, fill: float) -> list[tuple[tuple[int, int], TensorValue]]:  # fmt: skip
    """For each place in the window, what lies there, (B, H', W', C)."""
    size = shape(x)[1:3]
    over = [overhang(*args, ceil_mode=ceil_mode) for args in zip(size, kernel, stride, padding, dilation, strict=True)]
    pads = [0, 0, padding[0], padding[0] + max(over[0], 0), padding[1], padding[1] + max(over[1], 0), 0, 0]
    padded = ops.pad(x, pads, value=fill) if any(pads) else x
    wide = [size[a] + 2 * padding[a] + over[a] - dilation[a] * (kernel[a] - 1) for a in (0, 1)]
    found = []
    for row, column in product(range(kernel[0]), range(kernel[1])):
        start = (row * dilation[0], column * dilation[1])
        rows, columns = (slice(start[a], start[a] + wide[a], stride[a]) for a in (0, 1))
        found.append((start, ops.slice_tensor(padded, [slice(None), rows, columns, slice(None)])))
    return found


def max_pool2d(
    x: TensorValue, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int], ceil_mode: bool
) -> TensorValue:
    """(B, H, W, C)."""
    if ceil_mode:
        best, *others = (cell for _, cell in cells(x, kernel, stride, padding, dilation, ceil_mode, -np.inf))
        for cell in others:
            best = ops.max(best, cell)
        return best
    return ops.max_pool2d(x, tuple(kernel), tuple(stride), tuple(dilation), tuple(padding))


def max_pool2d_with_indices(
    x: TensorValue, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int], ceil_mode: bool
) -> tuple[TensorValue, TensorValue]:
    """Also where each maximum came from, a number in H · W: MAX's pool does not tell, so cells are compared."""
    _, _, width, _ = shape(x)
    (_, best), *others = cells(x, kernel, stride, padding, dilation, ceil_mode, -np.inf)
    where = ops.broadcast_to(constant(0, DType.int64), shape(best))
    for (row, column), cell in others:
        larger = cell > best
        best = ops.where(larger, cell, best)
        where = ops.where(larger, constant(row * width + column, DType.int64), where)
    _, height_out, width_out, _ = shape(best)
    corner = (np.arange(height_out) * stride[0] - padding[0])[:, None] * width
    corner = corner + np.arange(width_out) * stride[1] - padding[1]
    return best, where + constant(corner[None, :, :, None], DType.int64)


def avg_pool2d(
    x: TensorValue, kernel: list[int], stride: list[int], padding: list[int],
    ceil_mode: bool, count_include_pad: bool, divisor_override: int | None,
) -> TensorValue:  # fmt: skip
    """(B, H, W, C): the sum of what lies in each window, over how many cells count."""
    total, *others = (cell for _, cell in cells(x, kernel, stride, padding, [1, 1], ceil_mode, 0))
    for cell in others:
        total = total + cell
    if divisor_override:
        return total * (1 / divisor_override)
    rows, columns = (
        counts(*args, ceil_mode=ceil_mode, count_include_pad=count_include_pad)
        for args in zip(shape(x)[1:3], kernel, stride, padding, strict=True)
    )
    return total * constant((1 / np.outer(rows, columns))[None, :, :, None])


def adaptive_avg_pool(x: TensorValue, size: list[int]) -> TensorValue:
    """Of the dimensions before the last, by a matrix each."""
    for axis, output in enumerate(size, 1):
        matrix = constant(shares(shape(x)[axis], output).T)
        turned = ops.transpose(x, axis, -1)
        x = ops.transpose(ops.matmul(turned, matrix), axis, -1)
    return x


def adaptive_avg_pool1d(x: TensorValue, size: list[int]) -> TensorValue:
    """(B, C, T)."""
    return ops.matmul(x, constant(shares(shape(x)[-1], size[0]).T))


def upsample_nearest2d(x: TensorValue, size: list[int]) -> TensorValue:
    """(B, H, W, C) to (B, *size, C)."""
    batch, height, width, channels = shape(x)
    rows, columns = size[0] // height, size[1] // width
    if [rows * height, columns * width] != list(size):
        for axis, output in enumerate(size, 1):
            x = ops.gather(x, constant(nearest(shape(x)[axis], output), DType.int64), axis)
        return x
    apart = ops.reshape(x, [batch, height, 1, width, 1, channels])
    repeated = ops.broadcast_to(apart, [batch, height, rows, width, columns, channels])
    return ops.reshape(repeated, [batch, *size, channels])


def pad(x: TensorValue, pads: list[int], mode: str, value: float | None) -> TensorValue:
    """Other than constant: the cells by their numbers, the last dimension first."""
    del value
    modes = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    for number in range(len(pads) // 2):
        axis = x.rank - 1 - number
        cells_ = np.pad(np.arange(shape(x)[axis]), pads[2 * number : 2 * number + 2], modes[mode])  # type: ignore[call-overload]
        x = ops.gather(x, constant(cells_, DType.int64), axis)
    return x


OPERATORS: dict[str, Callable[..., Any]] = {
    "adaptive_avg_pool1d": adaptive_avg_pool1d,
    "adaptive_avg_pool2d_channels_last": adaptive_avg_pool,
    "avg_pool2d_channels_last": avg_pool2d,
    "batch_norm": batch_norm(1),
    "batch_norm_channels_last": batch_norm(-1),
    "conv1d_channels_last": forward,
    "conv2d_channels_last": forward,
    "convolution_channels_last": convolution,
    "group_norm": group_norm,
    "max_pool2d_channels_last": max_pool2d,
    "max_pool2d_with_indices_channels_last": max_pool2d_with_indices,
    "pad": pad,
    "upsample_nearest2d_channels_last": upsample_nearest2d,
}
