"""Convolutions, pools and resizing, written with slices and products of matrices."""

from __future__ import annotations

import itertools
import math
from functools import reduce
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from pytest_inferena.program.expand.moves import spread
from pytest_inferena.program.expand.tensor import Tensor, cat
from pytest_inferena.worker.windows import counts, nearest, overhang, shares

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence


LEAST = float(np.finfo(np.float32).min)
"""What a maximum does not see; no infinity, of which some engines' maximum makes no number."""


def _padded(x: Tensor, before: Sequence[int], after: Sequence[int], value: float = 0.0) -> Tensor:
    """More cells around the image, or fewer where a number is negative."""
    for at, (left, right) in enumerate(zip(before, after, strict=True), 2):
        x = x.slice(at, max(0, -left), x.shape[at] - max(0, -right)).pad(at, max(0, left), max(0, right), value)
    return x


def _taps(
    x: Tensor, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int], sizes: Sequence[int]
) -> Iterator[Tensor]:
    """What each cell of a window sees of a padded image: (B, C, *sizes), in the order of the kernel's cells."""
    for tap in itertools.product(*map(range, kernel)):
        seen = x
        for at, place in enumerate(tap):
            start = place * dilation[at]
            seen = seen.slice(2 + at, start, start + (sizes[at] - 1) * stride[at] + 1, stride[at])
        yield seen


def _sizes(x: Tensor, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> list[int]:
    """Windows that a padded image has room for."""
    settings = zip(x.shape[2:], kernel, stride, dilation, strict=True)
    return [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in settings]


def convolution_of_images(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> Tensor:
    """One product of the weights with all that their cells see; weights (O, C / groups, …)."""
    kernel, outputs = weight.shape[2:], weight.shape[0]
    x = _padded(x, padding, padding)
    sizes = _sizes(x, kernel, stride, dilation)
    batch, channels, pixels, cells = x.shape[0], x.shape[1], math.prod(sizes), math.prod(kernel)
    seen = [tap.reshape(batch, channels, 1, pixels) for tap in _taps(x, kernel, stride, dilation, sizes)]
    if groups == channels == outputs:  # a product of one row for each channel would be slow
        flat = weight.reshape(channels, cells)
        parts = [tap.reshape(batch, channels, pixels) * flat.slice(1, at, at + 1) for at, tap in enumerate(seen)]
        result = reduce(Tensor.__add__, parts)
    else:
        columns = cat(seen, 2).reshape(batch, groups, channels // groups * cells, pixels)
        rows = weight.reshape(1, groups, outputs // groups, channels // groups * cells)
        result = (rows @ columns).reshape(batch, outputs, pixels)
    result = result if bias is None else result + bias.reshape(outputs, 1)
    return result.reshape(batch, outputs, *sizes)


def conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> Tensor:
    """Of images that are one pixel high."""
    high, kernel = (value.reshape(*value.shape[:2], 1, value.shape[2]) for value in (x, weight))
    arguments = {
        "input": high, "weight": kernel, "bias": bias, "stride": [1, *stride], "padding": [0, *padding],
        "dilation": [1, *dilation], "groups": groups,
    }  # fmt: skip
    (size,) = _sizes(x.pad(2, padding[0], padding[0]), weight.shape[2:], stride, dilation)
    shape = (x.shape[0], weight.shape[0], 1, size)
    return x.make("conv2d", arguments, shape).reshape(*shape[:2], size)


def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
) -> Tensor:
    """One that engines have by its rank; transposed, of an image with zeros between its pixels.

    The kernel is then turned around, its weights (C, O / groups, …) become (O, C / groups, …).
    """
    kernel = weight.shape[2:]
    if transposed:
        for at, step in enumerate(stride, 2):
            x = spread(x, at, step, (x.shape[at] - 1) * step + 1)
        before = [d * (k - 1) - p for d, k, p in zip(dilation, kernel, padding, strict=True)]
        after = [size + extra for size, extra in zip(before, output_padding, strict=True)]
        x = _padded(x, before, after)
        inputs, outputs = weight.shape[0] // groups, weight.shape[1]
        dims = [*range(2, weight.rank)]
        weight = weight.make("flip", {"self": weight, "dims": dims}, weight.shape)
        weight = weight.reshape(groups, inputs, outputs, *kernel).swap(1, 2).reshape(groups * outputs, inputs, *kernel)
        stride, padding = [1] * len(kernel), [0] * len(kernel)
    if len(kernel) > 2:
        return convolution_of_images(x, weight, bias, stride, padding, dilation, groups)
    sizes = (
        _sizes(x, kernel, stride, dilation)
        if transposed
        else [
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, p, d, k, s in zip(x.shape[2:], padding, dilation, kernel, stride, strict=True)
        ]
    )
    arguments = {
        "input": x, "weight": weight, "bias": bias, "stride": stride, "padding": padding, "dilation": dilation,
        "groups": groups,
    }  # fmt: skip
    return x.make(f"conv{len(kernel)}d", arguments, (x.shape[0], weight.shape[0], *sizes))


Window: TypeAlias = "tuple[list[int], list[int], list[int], list[int]]"
"""Kernel, stride, padding and dilation, each by dimension."""


def overhangs(x: Tensor, window: Window, *, ceil_mode: bool) -> list[int]:
    """Cells beyond the right padding that the last windows read, by dimension."""
    settings = zip(x.shape[2:], *window, strict=True)
    return [max(overhang(*setting, ceil_mode=ceil_mode), 0) for setting in settings]


def pooled(x: Tensor, window: Window, value: float, *, ceil_mode: bool = False) -> tuple[list[Tensor], list[int]]:
    """What the cells of a pool's window see, and how many windows there are."""
    kernel, stride, padding, dilation = window
    x = beyond(x, padding, overhangs(x, window, ceil_mode=ceil_mode), value)
    sizes = _sizes(x, kernel, stride, dilation)
    return [*_taps(x, kernel, stride, dilation, sizes)], sizes


def beyond(x: Tensor, padding: Sequence[int], over: Sequence[int], value: float) -> Tensor:
    """An image with its padding, and what the last windows read behind that."""
    return _padded(x, padding, [p + extra for p, extra in zip(padding, over, strict=True)], value)


def max_pool2d(
    x: Tensor, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int], ceil_mode: bool
) -> Tensor:
    """The largest of what the window's cells see; with `ceil_mode`, a pool without it of a wider image."""
    window = (kernel, stride, padding, dilation)
    if not ceil_mode:
        return reduce(Tensor.maximum, pooled(x, window, LEAST)[0])
    x = beyond(x, padding, overhangs(x, window, ceil_mode=True), LEAST)
    arguments = {
        "self": x, "kernel_size": kernel, "stride": stride, "padding": [0, 0], "dilation": dilation, "ceil_mode": False,
    }  # fmt: skip
    return x.make("max_pool2d", arguments, (*x.shape[:2], *_sizes(x, kernel, stride, dilation)))


def max_pool2d_with_indices(
    x: Tensor, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int], ceil_mode: bool
) -> tuple[Tensor, Tensor]:
    """The largest, and where the first of them lies: a number in H · W, or in as many dimensions as there are."""
    taps, sizes = pooled(x, (kernel, stride, padding, dilation), LEAST, ceil_mode=ceil_mode)
    cells = itertools.product(*map(range, kernel))
    pixels = [math.prod(x.shape[at:]) for at in range(3, x.rank + 1)]  # that a step along each dimension passes
    best, place = taps[0], None
    for tap, cell in zip(taps, cells, strict=True):
        settings = zip(sizes, stride, padding, cell, dilation, strict=True)
        places = [(np.arange(n) * s - p + at * d) * by for (n, s, p, at, d), by in zip(settings, pixels, strict=True)]
        numbers = tap.constant(reduce(np.add.outer, places).astype(np.int64)).expand(*tap.shape)
        if place is None:
            place = numbers
            continue
        place = tap.compare("gt", best).where(numbers, place)
        best = best.maximum(tap)
    assert place is not None  # noqa: S101 - a kernel has a cell
    return best, place


def avg_pool2d(
    x: Tensor,
    kernel: list[int],
    stride: list[int],
    padding: list[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    """The sum of what the window's cells see, by their number; else such a pool, times what the cells divide by."""
    window = (kernel, stride, padding, [1, 1])
    if not ceil_mode and count_include_pad and not divisor_override:
        return reduce(Tensor.__add__, pooled(x, window, 0.0)[0]) * (1 / math.prod(kernel))
    settings = [*zip(x.shape[2:], kernel, stride, padding, strict=True)]
    cells = [counts(*setting, ceil_mode=ceil_mode, count_include_pad=count_include_pad) for setting in settings]
    over = overhangs(x, window, ceil_mode=ceil_mode)
    if any(over):
        x, padding = beyond(x, padding, over, 0.0), [0, 0]
    arguments = {
        "self": x, "kernel_size": kernel, "stride": stride, "padding": padding, "ceil_mode": False,
        "count_include_pad": True, "divisor_override": None,
    }  # fmt: skip
    result = x.make("avg_pool2d", arguments, (*x.shape[:2], *map(len, cells)))
    if divisor_override:
        return result * (math.prod(kernel) / divisor_override)
    return result * result.constant((math.prod(kernel) / np.outer(*cells)).astype(np.float32))


def adaptive_avg_pool(x: Tensor, size: list[int]) -> Tensor:
    """A product with each cell's shares, dimension by dimension."""
    for at, length in enumerate(size, x.rank - len(size)):
        matrix = x.constant(np.ascontiguousarray(shares(x.shape[at], length).T))
        x = (x.swap(at, x.rank - 1) @ matrix).swap(at, x.rank - 1)
    return x


def upsample_nearest2d(x: Tensor, size: list[int]) -> Tensor:
    """Each pixel repeated, or chosen by its number where the sizes do not divide."""
    for at, length in enumerate(size, 2):
        before, shape = x.shape[at], [*x.shape]
        shape[at] = length
        if length % before:
            index = x.constant(np.array(nearest(before, length)))
            x = x.make("index_select", {"self": x, "dim": at, "index": index}, shape)
            continue
        apart = x.reshape(*x.shape[: at + 1], 1, *x.shape[at + 1 :])
        x = apart.expand(*x.shape[: at + 1], length // before, *x.shape[at + 1 :]).reshape(*shape)
    return x


EXPANSIONS: Mapping[str, Callable[..., Tensor | tuple[Tensor, ...]]] = {
    "adaptive_avg_pool1d": adaptive_avg_pool,
    "adaptive_avg_pool2d": adaptive_avg_pool,
    "avg_pool2d": avg_pool2d,
    "conv1d": conv1d,
    "conv2d": convolution_of_images,
    "convolution": convolution,
    "max_pool2d": max_pool2d,
    "max_pool2d_with_indices": max_pool2d_with_indices,
    "upsample_nearest2d": upsample_nearest2d,
}
"""Operator → a function of the node's arguments in their order."""
