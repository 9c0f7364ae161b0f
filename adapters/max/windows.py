"""MAX's table: convolutions and pools, all channels last, and the norm by channel."""

from __future__ import annotations

import math
import operator
from functools import reduce
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from max.dtype import DType
from max.graph import TensorValue, ops

from pytest_inferena import Unsupported
from pytest_inferena.worker.windows import overhang

from .operators import constant, shape

if TYPE_CHECKING:
    from collections.abc import Callable


def conv1d(
    x: TensorValue, weight: TensorValue, bias: TensorValue | None,
    stride: list[int], padding: list[int], dilation: list[int], groups: int,
) -> TensorValue:  # fmt: skip
    """(B, T, C) with weights (K, C / groups, O): images that are one pixel high."""
    high, kernel = ops.unsqueeze(x, 1), ops.unsqueeze(weight, 0)
    return ops.squeeze(conv2d(high, kernel, bias, [1, *stride], [0, *padding], [1, *dilation], groups), 1)


def conv2d(
    x: TensorValue, weight: TensorValue, bias: TensorValue | None,
    stride: list[int], padding: list[int], dilation: list[int], groups: int,
) -> TensorValue:  # fmt: skip
    """(B, H, W, C) with weights (K, L, C / groups, O)."""
    high, wide = padding
    return ops.conv2d(x, weight, tuple(stride), tuple(dilation), (high, high, wide, wide), groups, bias)


def convolution(
    x: TensorValue, weight: TensorValue, bias: TensorValue | None, stride: list[int], padding: list[int],
    dilation: list[int], transposed: bool, output_padding: list[int], groups: int,
) -> TensorValue:  # fmt: skip
    """Transposed, weights (K, L, O, C): of the image with zeros between its cells, by the weights backwards."""
    del transposed, groups
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
    pads = (edge[0], edge[0] + output_padding[0], edge[1], edge[1] + output_padding[1])
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


def max_pool2d(
    x: TensorValue, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int], ceil_mode: bool
) -> TensorValue:
    """(B, H, W, C)."""
    del ceil_mode
    return ops.max_pool2d(x, tuple(kernel), tuple(stride), tuple(dilation), tuple(padding))


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
    """(B, H, W, C): the mean of what lies in each window, padding too."""
    del count_include_pad, divisor_override
    found = [cell for _, cell in cells(x, kernel, stride, padding, [1, 1], ceil_mode, 0)]
    return reduce(operator.add, found) * (1 / math.prod(kernel))


OPERATORS: dict[str, Callable[..., Any]] = {
    "avg_pool2d_channels_last": avg_pool2d,
    "conv1d_channels_last": conv1d,
    "conv2d_channels_last": conv2d,
    "convolution_channels_last": convolution,
    "group_norm": lambda x, groups, weight, bias, eps: ops.group_norm(x, weight, bias, groups, eps),
    "max_pool2d_channels_last": max_pool2d,
    "max_pool2d_with_indices_channels_last": max_pool2d_with_indices,
}
