"""GGML's table, third part: convolutions, pools and resizing.

ggml_conv_1d and ggml_conv_2d_dw go through 16-bit floats: convolutions are made of ggml_im2col and
ggml_mul_mat, as ggml_conv_2d is, all in 32 bits.
"""

from __future__ import annotations

import ctypes
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from ggml import ggml

from pytest_inferena import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

    from .graph import Graph, Value


def planes(g: Graph, x: Value) -> Value:
    """(B, C, T) as (B, C, 1, T)."""
    return x if len(x.shape) == 4 else g.reshape(x, (*x.shape[:2], 1, x.shape[2]))


def convolution(
    g: Graph,
    x: Value,
    weight: Value,
    bias: Value | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
) -> Value:
    """Of one or two dimensions, either way."""
    rank = len(weight.shape) - 2
    if rank not in {1, 2}:
        raise Unsupported(f"a convolution of {rank} dimensions: this table has one and two")
    before = [0] * (2 - rank)
    window = [[*(1 for _ in before), *stride], [*before, *padding], [*(1 for _ in before), *dilation]]
    flat, kernel = planes(g, x), planes(g, weight)
    if transposed:
        size = [
            (n - 1) * s - 2 * p + d * (k - 1) + e + 1
            for n, s, p, d, k, e in zip(
                flat.shape[2:], *window, kernel.shape[2:], [*before, *output_padding], strict=True
            )
        ]
        result = grouped(g, flat, kernel, groups, lambda a, b: scattered(g, a, b, window, size))
    elif groups == flat.shape[1] == kernel.shape[0] > 1:
        result = depthwise(g, flat, kernel, window)
    else:
        result = grouped(g, flat, kernel, groups, lambda a, b: gathered(g, a, b, window))
    if bias is not None:
        wide = g.packed(bias, bias.shape[0], 1, 1)
        result = g.made(g.call(ggml.ggml_add, g.packed(result, *result.shape), wide), result.shape)
    return g.reshape(result, [*result.shape[:2], *result.shape[4 - rank :]])


def grouped(g: Graph, x: Value, weight: Value, groups: int, each: Callable[[Value, Value], Value]) -> Value:
    """Each group of channels by itself."""
    if groups == 1:
        return each(x, weight)
    parts = []
    for group in range(groups):
        channels, kernels = x.shape[1] // groups, weight.shape[0] // groups
        seen = view(g, x, 1, group * channels, channels)
        parts.append(each(seen, view(g, weight, 0, group * kernels, kernels)))
    joined = parts[0]
    for part in parts[1:]:
        shape = [joined.shape[0], joined.shape[1] + part.shape[1], *joined.shape[2:]]
        both = [g.packed(side, *side.shape) for side in (joined, part)]
        joined = g.made(g.call(ggml.ggml_concat, *both, 2), shape)
    return joined


def view(g: Graph, x: Value, dim: int, start: int, size: int) -> Value:
    """Some channels."""
    tensor = g.packed(x, *x.shape)
    shape = [size if place == dim else old for place, old in enumerate(x.shape)]
    steps = tensor.contents.nb[:]
    return g.made(g.call(ggml.ggml_view_4d, tensor, *shape[::-1], *steps[1:], start * steps[3 - dim]), shape)


def reach(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """How many places a window has."""
    places = (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    if places < 1:
        raise Unsupported("a window larger than its image")
    return places


def gathered(g: Graph, x: Value, weight: Value, window: list[list[int]]) -> Value:
    """A product of the windows (B · H · W, C · K · L) and the weights (O, C · K · L)."""
    stride, padding, dilation = window
    sizes = [reach(*n) for n in zip(x.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True)]
    (batch, channels), (outputs, taps) = x.shape[:2], (weight.shape[0], math.prod(weight.shape[1:]))
    if weight.shape[2:] == (1, 1) and stride == [1, 1] and padding == [0, 0]:
        lines = g.call(ggml.ggml_transpose, g.packed(x, batch, channels, math.prod(sizes)))
        columns = g.call(ggml.ggml_cont, lines)
    else:
        flat = [n for pair in (stride, padding, dilation) for n in pair[::-1]]
        kernel = g.packed(weight, *weight.shape)
        columns = g.call(ggml.ggml_im2col, kernel, g.packed(x, *x.shape), *flat, True, ggml.GGML_TYPE_F32)
    columns = g.resized(columns, batch * math.prod(sizes), taps)
    product = g.call(ggml.ggml_mul_mat, columns, g.packed(weight, outputs, taps))
    turned = g.made(product, (outputs, batch, *sizes))
    return g.permute(turned, [1, 0, 2, 3]) if batch > 1 else g.made(product, (1, outputs, *sizes))


def scattered(g: Graph, x: Value, weight: Value, window: list[list[int]], size: list[int]) -> Value:
    """A product of the image (B · H · W, C) and the weights (C, O · K · L), its windows added up."""
    stride, padding, dilation = window
    (batch, channels), places = x.shape[:2], x.shape[2:]
    outputs, taps = weight.shape[1], math.prod(weight.shape[1:])
    across = g.call(ggml.ggml_cont, g.call(ggml.ggml_transpose, g.packed(weight, channels, taps)))
    pixels = g.call(ggml.ggml_transpose, g.packed(x, batch, channels, math.prod(places)))
    rows = g.resized(g.call(ggml.ggml_cont, pixels), batch * math.prod(places), channels)
    columns = g.resized(g.call(ggml.ggml_mul_mat, across, rows), batch, *places, taps)
    shape = (batch, outputs, *size)
    flat = [n for pair in (stride, padding, dilation) for n in pair[::-1]]
    kernel = g.resized(g.packed(weight), channels, outputs, *weight.shape[2:])
    sizes = (ctypes.c_int64 * 4)(*shape[::-1])
    return g.made(g.call(ggml.ggml_im2col_back, columns, kernel, sizes, *flat, True), shape)


def depthwise(g: Graph, x: Value, weight: Value, window: list[list[int]]) -> Value:
    """One channel, one kernel."""
    stride, padding, dilation = window
    sizes = [reach(*n) for n in zip(x.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True)]
    flat = [n for pair in (stride, padding, dilation) for n in pair[::-1]]
    kernel, image = g.packed(weight, *weight.shape), g.packed(x, *x.shape)
    return g.made(g.call(ggml.ggml_conv_2d_dw_direct, kernel, image, *flat), (*x.shape[:2], *sizes))


def forward(
    g: Graph,
    x: Value,
    weight: Value,
    bias: Value | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> Value:
    """conv1d, conv2d."""
    return convolution(g, x, weight, bias, stride, padding, dilation, False, [0] * len(stride), groups)


def pooled(g: Graph, x: Value, kind: Any, kernel: list[int], stride: list[int], padding: list[int]) -> Value:
    """One of ggml's pools, of (B, C, H, W)."""
    sizes = [reach(*n, 1) for n in zip(x.shape[2:], kernel, stride, padding, strict=True)]
    window = [n for pair in (kernel, stride, padding) for n in pair[::-1]]
    tensor = g.call(ggml.ggml_pool_2d, g.packed(x, *x.shape), kind, *window)
    return g.made(tensor, (*x.shape[:2], *sizes))


def max_pool2d(
    g: Graph, x: Value, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int], ceil_mode: bool
) -> Value:
    """What lies outside the image counts for nothing."""
    del dilation, ceil_mode
    return pooled(g, x, ggml.GGML_OP_POOL_MAX, kernel, stride, padding)


def avg_pool2d(
    g: Graph,
    x: Value,
    kernel: list[int],
    stride: list[int],
    padding: list[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Value:
    """Divided by the window's size, what lies outside the image included."""
    del ceil_mode, count_include_pad, divisor_override
    return pooled(g, x, ggml.GGML_OP_POOL_AVG, kernel, stride, padding)


def max_pool2d_with_indices(
    g: Graph, x: Value, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int], ceil_mode: bool
) -> tuple[Value, Value]:
    """Of each window, its elements that equal the maximum score the higher the earlier they come."""
    result = max_pool2d(g, x, kernel, stride, padding, dilation, ceil_mode)
    count, taps, (height, width) = math.prod(x.shape[:2]), math.prod(kernel), x.shape[2:]
    sizes = result.shape[2:]
    plane = g.packed(x, count, 1, height, width)
    like = g.call(ggml.ggml_new_tensor_2d, ggml.GGML_TYPE_F32, kernel[1], kernel[0])
    flat = [n for pair in (stride, padding, dilation) for n in pair[::-1]]
    columns = g.call(ggml.ggml_im2col, like, plane, *flat, True, ggml.GGML_TYPE_F32)
    columns = g.resized(columns, count * math.prod(sizes), taps)
    apart = g.call(ggml.ggml_sub, columns, g.packed(result, count * math.prod(sizes), 1))
    equal = g.call(ggml.ggml_scale_bias, g.call(ggml.ggml_step, g.call(ggml.ggml_abs, apart)), -1.0, 1.0)
    # A place outside the image is 0 there, which may equal the maximum: it scores nothing.
    inside, places = _places(sizes, kernel, stride, padding, (height, width))
    scores = g.call(ggml.ggml_mul, g.resized(equal, count, math.prod(sizes), taps), g.tensor(g.constant(inside)))
    best = g.largest(scores, taps)
    tap = g.call(ggml.ggml_scale_bias, best, -1.0, float(taps))
    row = g.call(ggml.ggml_floor, g.call(ggml.ggml_scale_bias, tap, 1 / kernel[1], 0.5 / kernel[1]))
    within = g.call(ggml.ggml_add, tap, g.call(ggml.ggml_scale, row, float(width - kernel[1])))
    at = g.call(ggml.ggml_add, g.resized(within, count, math.prod(sizes)), g.tensor(g.constant(places)))
    return result, g.made(at, result.shape, "int64")


def _places(
    sizes: tuple[int, ...], kernel: list[int], stride: list[int], padding: list[int], image: tuple[int, ...]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The score (H · W, K · L) of each window's elements, and where (H · W,) the window begins in the image."""
    starts = [np.arange(n) * s - p for n, s, p in zip(sizes, stride, padding, strict=True)]
    inside = [
        (at := start[:, None] + np.arange(k)) * 0 + ((at >= 0) & (at < n))
        for start, k, n in zip(starts, kernel, image, strict=True)
    ]
    taps = math.prod(kernel)
    held = np.einsum("hk,wl->hwkl", *inside).reshape(-1, taps)
    begin = starts[0][:, None] * image[1] + starts[1]
    return (held * np.arange(taps, 0, -1)).astype(np.float32), begin.reshape(-1).astype(np.float32)


OPERATORS: dict[str, Callable[..., Any]] = {
    "avg_pool2d": avg_pool2d,
    "conv1d": forward,
    "conv2d": forward,
    "convolution": convolution,
    "max_pool2d": max_pool2d,
    "max_pool2d_with_indices": max_pool2d_with_indices,
}
