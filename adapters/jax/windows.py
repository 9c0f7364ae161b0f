"""Windows of JAX's table: convolutions, pools, resizing and padding."""

from __future__ import annotations

import functools
import itertools
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


def max_pool2d(
    x: Array, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int], ceil_mode: bool
) -> Array:
    """(B, C, H, W)."""
    over = [
        overhang(*sizes, ceil_mode=ceil_mode)
        for sizes in zip(x.shape[2:], kernel, stride, padding, dilation, strict=True)
    ]
    pads = [(0, 0), (0, 0), *((p, p + max(extra, 0)) for p, extra in zip(padding, over, strict=True))]
    if dilation == [1, 1]:
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, *kernel), (1, 1, *stride), pads)
    x = jnp.pad(x, pads, constant_values=-jnp.inf)  # JAX differentiates no window with gaps
    ends = [n - d * (k - 1) for n, d, k in zip(x.shape[2:], dilation, kernel, strict=True)]
    shifted = (
        x[:, :, row * dilation[0] :, column * dilation[1] :][:, :, : ends[0] : stride[0], : ends[1] : stride[1]]
        for row, column in itertools.product(*map(range, kernel))
    )
    return functools.reduce(jnp.maximum, shifted)


def avg_pool2d(
    x: Array,
    kernel: list[int],
    stride: list[int],
    padding: list[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Array:
    """(B, C, H, W)."""
    settings = list(zip(x.shape[2:], kernel, stride, padding, strict=True))
    over = [max(overhang(*sizes, ceil_mode=ceil_mode), 0) for sizes in settings]
    pads = [(0, 0), (0, 0), *((p, p + extra) for p, extra in zip(padding, over, strict=True))]
    total = lax.reduce_window(x, 0.0, lax.add, (1, 1, *kernel), (1, 1, *stride), pads)
    if divisor_override:
        return total / divisor_override
    cells = (counts(*sizes, ceil_mode=ceil_mode, count_include_pad=count_include_pad) for sizes in settings)
    return total / np.outer(*cells)
