"""MLX's convolutions of images (B, H, W, C)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mlx.core as mx

if TYPE_CHECKING:
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
