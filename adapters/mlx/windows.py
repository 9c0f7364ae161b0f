"""Windows of MLX's table: convolutions, pools and resizing of images (B, H, W, C), as MLX has them."""

from __future__ import annotations

import functools
import itertools
import operator
from typing import TYPE_CHECKING

import mlx.core as mx
import numpy as np

from pytest_inferena.worker.windows import counts, nearest, overhang, shares

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlx.core import array


def convolution(
    x: array, weight: array, bias: array | None, stride: list[int], padding: list[int], dilation: list[int], groups: int
) -> array:
    """(B, T, C) or (B, H, W, C) with weights (O, …, C / groups)."""
    if groups == 1 and all(size == 1 for size in weight.shape[1:-1]) and not any(padding):
        return pointwise(x, weight, bias, stride)
    result = mx.conv_general(x, weight, stride, padding, dilation, groups=groups)
    return result if bias is None else result + bias


def pointwise(x: array, weight: array, bias: array | None, stride: list[int]) -> array:
    """A convolution by one cell is a product, and so are its gradients; MLX's convolution copies the image first."""
    x = x[(slice(None), *(slice(None, None, step) for step in stride))]
    flat, matrix = x.reshape(-1, x.shape[-1]), weight.reshape(weight.shape[0], -1).T
    result = flat @ matrix if bias is None else mx.addmm(bias, flat, matrix)
    return result.reshape(*x.shape[:-1], -1)


def shifted(x: array, kernel: list[int], stride: list[int], dilation: list[int]) -> list[array]:
    """For each cell of a window the image that it sees, all of the result's size."""
    ends = [n - d * (k - 1) for n, d, k in zip(x.shape[1:3], dilation, kernel, strict=True)]
    return [
        x[:, row * dilation[0] :, column * dilation[1] :][:, : ends[0] : stride[0], : ends[1] : stride[1]]
        for row, column in itertools.product(*map(range, kernel))
    ]


def padded(x: array, padding: list[int], over: list[int], value: float) -> array:
    """An image with cells around it, and more of them behind it."""
    pads = [(0, 0), *((p, p + max(extra, 0)) for p, extra in zip(padding, over, strict=True)), (0, 0)]
    return mx.pad(x, pads, constant_values=mx.array(value)) if any(map(any, pads)) else x


def max_pool2d(
    x: array, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int], ceil_mode: bool
) -> array:
    """(B, H, W, C)."""
    sizes = zip(x.shape[1:3], kernel, stride, padding, dilation, strict=True)
    over = [overhang(*given, ceil_mode=ceil_mode) for given in sizes]
    return functools.reduce(mx.maximum, shifted(padded(x, padding, over, -mx.inf), kernel, stride, dilation))


def avg_pool2d(
    x: array, kernel: list[int], stride: list[int], padding: list[int], ceil_mode: bool, count_include_pad: bool,
    divisor_override: int | None,
) -> array:  # fmt: skip
    """(B, H, W, C)."""
    settings = list(zip(x.shape[1:3], kernel, stride, padding, strict=True))
    over = [overhang(*given, ceil_mode=ceil_mode) for given in settings]
    total = functools.reduce(operator.add, shifted(padded(x, padding, over, 0.0), kernel, stride, [1, 1]))
    if divisor_override:
        return total / divisor_override
    rows, columns = (counts(*given, ceil_mode=ceil_mode, count_include_pad=count_include_pad) for given in settings)
    return total / mx.array(np.outer(rows, columns)[:, :, None])


def adaptive_avg_pool(axis: int) -> Callable[[array, list[int]], array]:
    """Over dimensions from `axis` on, to a size that need not divide them."""

    def pool(x: array, size: list[int]) -> array:
        for at, length in enumerate(size, axis):
            x = mx.moveaxis(mx.moveaxis(x, at, -1) @ mx.array(shares(x.shape[at], length).T), -1, at)
        return x

    return pool


def upsample_nearest2d(x: array, size: list[int]) -> array:
    """To (B, *size, C)."""
    before = x.shape[1:3]
    rows, columns = (after // now for after, now in zip(size, before, strict=True))
    if [rows * before[0], columns * before[1]] == size:
        wide = mx.broadcast_to(x[:, :, None, :, None], (x.shape[0], before[0], rows, before[1], columns, x.shape[3]))
        return wide.reshape(x.shape[0], *size, x.shape[3])
    chosen = [mx.array(nearest(now, after)) for now, after in zip(before, size, strict=True)]
    return x[:, chosen[0]][:, :, chosen[1]]


def pad(x: array, sizes: list[int], mode: str, value: float | None) -> array:
    """`sizes` has two numbers for each dimension, the last one first."""
    del value  # of constant padding, which is `cat`
    pairs = list(zip(sizes[::2], sizes[1::2], strict=True))[::-1]
    modes = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    for axis, (before, after) in enumerate(pairs, x.ndim - len(pairs)):
        cells = np.pad(np.arange(x.shape[axis]), (before, after), mode=modes[mode])  # type: ignore[call-overload]
        x = mx.take(x, mx.array(cells), axis)
    return x


def group_norm(x: array, groups: int, weight: array | None, bias: array | None, eps: float) -> array:
    """Of (B, …, C), as mlx.nn.GroupNorm with pytorch_compatible does it."""
    grouped = x.reshape(x.shape[0], -1, groups, x.shape[-1] // groups)
    flat = grouped.transpose(0, 2, 1, 3).reshape(x.shape[0], groups, -1)
    normed = mx.fast.layer_norm(flat, None, None, eps).reshape(x.shape[0], groups, -1, grouped.shape[-1])
    result = normed.transpose(0, 2, 1, 3).reshape(x.shape)
    result = result if weight is None else result * weight
    return result if bias is None else result + bias


def group_norm_first(x: array, groups: int, weight: array | None, bias: array | None, eps: float) -> array:
    """Of (B, C, …)."""
    normed = mx.fast.layer_norm(x.reshape(x.shape[0], groups, -1), None, None, eps).reshape(x.shape)
    shape = (-1, *(1,) * (x.ndim - 2))
    result = normed if weight is None else normed * weight.reshape(shape)
    return result if bias is None else result + bias.reshape(shape)


def batch_norm(x: array, weight: array, bias: array, mean: array, var: array, eps: float) -> array:
    """Of (B, …, C), on stored statistics."""
    scale = weight * mx.rsqrt(var + eps)
    return x * scale + (bias - mean * scale)
