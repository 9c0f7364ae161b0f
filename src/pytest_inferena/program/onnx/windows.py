"""Operators that look at windows of an image: pools, resizing, padding."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_inferena.program.onnx.builder import Builder

    Rule = Callable[..., Any]

PADDING = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def max_pool2d(
    b: Builder, x: Any, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int], ceil_mode: bool
) -> Any:
    """(B, C, H, W)."""
    return b.op("MaxPool", b.tensor(x), **_window(kernel, stride, padding, dilation, ceil_mode))


def max_pool2d_with_indices(
    b: Builder, x: Any, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int], ceil_mode: bool
) -> Any:
    """The maxima, and the place of each in its image. ONNX counts places through the whole tensor."""
    window = _window(kernel, stride, padding, dilation, ceil_mode)
    values, at = b.op("MaxPool", b.tensor(x), outputs=2, **window)
    return values, b.op("Mod", at, b.constant(math.prod(b.shape(x)[2:]), "int64"))


def _window(
    kernel: list[int], stride: list[int], padding: list[int], dilation: list[int], ceil_mode: bool
) -> dict[str, Any]:
    names = {"kernel_shape": kernel, "strides": stride, "pads": [*padding, *padding], "dilations": dilation}
    return names | {"ceil_mode": int(ceil_mode)}


def upsample_nearest2d(b: Builder, x: Any, size: list[int]) -> Any:
    """To (B, C, *size)."""
    settings: dict[str, Any] = {
        "mode": "nearest",
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
    }
    scales = [after / before for after, before in zip(b.out.shape, b.shape(x), strict=True)]
    if all(scale == int(scale) for scale in scales):
        return b.op("Resize", b.tensor(x), "", b.constant(scales, "float32"), **settings)
    return b.op("Resize", b.tensor(x), "", "", b.ints([*b.shape(x)[:2], *size]), **settings)


def avg_pool2d(
    b: Builder, x: Any, kernel: list[int], stride: list[int], padding: list[int], ceil_mode: bool,
    count_include_pad: bool, divisor_override: int | None,
) -> Any:  # fmt: skip
    """(B, C, H, W), divided by the window's size."""
    del count_include_pad, divisor_override
    window = _window(kernel, stride, padding, [1, 1], ceil_mode)
    return b.op("AveragePool", b.tensor(x), count_include_pad=1, **window)


def pad(b: Builder, x: Any, sides: list[int], mode: str, value: float | None) -> Any:
    """Padding with values of the image. `sides` begins with the two of the last dimension."""
    del value  # the Program writes constant padding as cat
    begins, ends = ([0] * len(b.out.shape) for _ in range(2))
    for index in range(0, len(sides), 2):
        begins[-1 - index // 2], ends[-1 - index // 2] = sides[index : index + 2]
    return b.op("Pad", b.tensor(x), b.ints([*begins, *ends]), mode=PADDING[mode])


OPERATORS: dict[str, Rule] = {
    "avg_pool2d": avg_pool2d,
    "max_pool2d": max_pool2d,
    "max_pool2d_with_indices": max_pool2d_with_indices,
    "pad": pad,
    "upsample_nearest2d": upsample_nearest2d,
}
