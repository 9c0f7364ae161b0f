"""Windows of JAX's table: convolutions and pools."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np
from jax import lax

from pytest_inferena.worker.windows import counts, overhang

if TYPE_CHECKING:
    from collections.abc import Callable

    from jax import Array


def convolution(rank: int) -> Callable[..., Array]:
    """conv1d, conv2d: (B, C, …) with weights (O, C / groups, …)."""
    spatial = "HW"[-rank:] if rank > 1 else "W"
    layout = (f"NC{spatial}", f"OI{spatial}", f"NC{spatial}")

    def conv(
        x: Array,
        weight: Array,
        bias: Array | None,
        stride: list[int],
        padding: list[int],
        dilation: list[int],
        groups: int,
    ) -> Array:
        result = lax.conv_general_dilated(
            x, weight, stride, [(p, p) for p in padding], rhs_dilation=dilation,
            dimension_numbers=layout, feature_group_count=groups,
        )  # fmt: skip
        return result if bias is None else result + bias.reshape(1, -1, *(1,) * rank)

    return conv


def padded(
    x: Array, kernel: list[int], stride: list[int], padding: list[int], *, ceil_mode: bool
) -> list[tuple[int, int]]:
    """Cells before and behind each dimension of (B, C, H, W)."""
    settings = zip(x.shape[2:], kernel, stride, padding, strict=True)
    over = [max(overhang(*setting, ceil_mode=ceil_mode), 0) for setting in settings]
    return [(0, 0), (0, 0), *((p, p + extra) for p, extra in zip(padding, over, strict=True))]


def max_pool2d(
    x: Array, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int], ceil_mode: bool
) -> Array:
    """Windows have no gaps, for JAX differentiates no others."""
    del dilation
    pads = padded(x, kernel, stride, padding, ceil_mode=ceil_mode)
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, *kernel), (1, 1, *stride), pads)


def avg_pool2d(
    x: Array,
    kernel: list[int],
    stride: list[int],
    padding: list[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Array:
    """Windows that go over the edge have fewer cells."""
    del divisor_override
    pads = padded(x, kernel, stride, padding, ceil_mode=ceil_mode)
    total = lax.reduce_window(x, 0.0, lax.add, (1, 1, *kernel), (1, 1, *stride), pads)
    settings = zip(x.shape[2:], kernel, stride, padding, strict=True)
    cells = (counts(*setting, ceil_mode=ceil_mode, count_include_pad=count_include_pad) for setting in settings)
    return total / np.outer(*cells)
