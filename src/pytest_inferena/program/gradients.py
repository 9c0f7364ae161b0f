"""Backward operators spelled by forward ones, so that an engine needs none that only training has."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch._decomp import core_aten_decompositions, get_decompositions

from pytest_inferena.program.convolution import convolution_backward, of_input
from pytest_inferena.program.graph import NotExportable

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

aten = torch.ops.aten


def decompositions(*, safe_softmax: bool, steep: bool) -> dict[Any, Callable[..., Any]]:
    """Core ATen's, those of backward operators, and our own.

    Without `safe_softmax` a row of attention that is masked altogether would be NaN, not zero; the
    check for it costs a dozen operators a layer. `steep` says that gradients on their way may be infinite.
    """
    table = dict(core_aten_decompositions())
    table |= get_decompositions(
        [
            aten.native_layer_norm_backward, aten.native_group_norm_backward,
            aten.native_batch_norm, aten.native_batch_norm_backward, aten._native_batch_norm_legit_no_training,
            aten.nll_loss_forward, aten.nll_loss_backward,
            aten._softmax_backward_data, aten._log_softmax_backward_data, aten._safe_softmax,
            aten.silu_backward, aten.gelu_backward, aten.mse_loss_backward,
            aten.select_backward, aten.slice_backward, aten._fused_rms_norm, aten._fused_rms_norm_backward,
        ]
    )  # fmt: skip
    table |= {
        aten.avg_pool2d_backward.default: _avg_pool2d_backward,
        aten.convolution_backward.default: convolution_backward,
        aten.embedding_dense_backward.default: _embedding_backward,
        aten.max_pool2d_with_indices_backward.default: _max_pool2d_backward,
        aten.native_group_norm.default: _group_norm,
        aten.threshold_backward.default: _chosen_gradient if steep else _threshold_backward,
        aten.upsample_nearest2d_backward.default: _upsample_nearest2d_backward,
        **{getattr(aten, f"replication_pad{rank}d_backward").default: _replication_pad_backward for rank in (1, 2, 3)},
    }
    if not safe_softmax:
        table[aten._safe_softmax.default] = lambda x, dim, dtype=None: aten._softmax(x, dim, False)  # noqa: ARG005
    # Engines have these as they are.
    for kept in (aten.silu, aten.embedding, aten.native_layer_norm, aten.upsample_nearest2d):
        for overload in kept.overloads():
            table.pop(getattr(kept, overload), None)
    return table


def _group_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, batch: int, channels: int, pixels: int, groups: int,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Over groups of channels of (B, C, …): a layer norm, then weight and bias by channel."""
    rest = channels // groups * pixels
    result, mean, scale = aten.native_layer_norm(x.reshape(batch, groups, rest), [rest], None, None, eps)
    result, shape = result.reshape(x.shape), [1, channels, *[1] * (x.ndim - 2)]
    result = result if weight is None else result * weight.reshape(shape)
    result = result if bias is None else result + bias.reshape(shape)
    return result, mean.reshape(batch, groups), scale.reshape(batch, groups)


def _threshold_backward(grad: Tensor, x: Tensor, threshold: float) -> Tensor:
    """A product; choosing element by element takes engines longer."""
    return grad * (x > threshold).to(grad.dtype)


def _chosen_gradient(grad: Tensor, x: Tensor, threshold: float) -> Tensor:
    """Zero also in place of an infinite gradient: that of a root at zero."""
    return torch.where(x > threshold, grad, 0.0)


def _embedding_backward(grad: Tensor, indices: Tensor, rows: int, padding_idx: int, scale_grad_by_freq: bool) -> Tensor:
    """Every row of the gradient is added to the row of the table that it was read from."""
    if scale_grad_by_freq or padding_idx >= 0:  # `padding_idx` was spelled out when the Program was made
        raise NotExportable("the gradient of an embedding with scale_grad_by_freq")
    zeros = torch.zeros(rows, grad.shape[-1], dtype=grad.dtype)
    return aten.index_put(zeros, [indices], grad, True)


def _max_pool2d_backward(
    grad: Tensor, x: Tensor, kernel_size: list[int], stride: list[int], padding: list[int], dilation: list[int],
    ceil_mode: bool, indices: Tensor,
) -> Tensor:  # fmt: skip
    """Every gradient goes to the place its maximum came from."""
    del kernel_size, stride, padding, dilation, ceil_mode
    batch, channels, height, width = x.shape
    zeros = torch.zeros(batch, channels, height * width, dtype=grad.dtype)
    flat = (tensor.reshape(batch, channels, -1) for tensor in (indices, grad))
    return zeros.scatter_add(2, *flat).reshape(x.shape)


def _avg_pool2d_backward(
    grad: Tensor, x: Tensor, kernel_size: list[int], stride: list[int], padding: list[int], ceil_mode: bool,
    count_include_pad: bool, divisor_override: int | None,
) -> Tensor:  # fmt: skip
    """Every cell gets its share from each window that sees it: a transposed convolution with ones."""
    kernel, pads = (([*value] * 2)[:2] for value in (kernel_size, padding))
    steps = ([*stride] * 2)[:2] or kernel
    divisor: Any = divisor_override or math.prod(kernel)
    if (ceil_mode or not count_include_pad) and not divisor_override:  # how many cells of each window count
        around = pads if count_include_pad else [0, 0]
        inside = torch.ones(1, 1, *(size + 2 * pad for size, pad in zip(x.shape[2:], around, strict=True)))
        beside = [pad - counted for pad, counted in zip(pads, around, strict=True)]
        divisor = aten.avg_pool2d(inside.to(grad.dtype), kernel, steps, beside, ceil_mode, True, 1)
        divisor = aten.slice(aten.slice(divisor, 2, 0, grad.shape[2]), 3, 0, grad.shape[3])
    ones = torch.ones(x.shape[1], 1, *kernel, dtype=grad.dtype)
    return of_input(grad / divisor, x, ones, steps, pads, [1, 1], x.shape[1])


def _upsample_nearest2d_backward(
    grad: Tensor,
    output_size: list[int],
    input_size: list[int],
    scale_h: float | None = None,
    scale_w: float | None = None,
) -> Tensor:
    """Sum over what each pixel became: a block, or what shows it where the sizes do not divide."""
    del scale_h, scale_w  # a Program has it by sizes
    batch, channels, height, width = input_size
    rows, columns = output_size[0] // height, output_size[1] // width
    if (rows * height, columns * width) == tuple(output_size):
        return grad.reshape(batch, channels, height, rows, width, columns).sum([3, 5])
    for at, (before, after) in enumerate(zip(input_size[2:], output_size, strict=True), 2):
        step = float(np.float32(before) / np.float32(after))
        places = (torch.arange(after, dtype=torch.float32) * step).to(torch.int64).clamp(max=before - 1)
        grad = _to_source(grad, at, places, before)
    return grad


def _replication_pad_backward(grad: Tensor, x: Tensor, padding: list[int]) -> Tensor:
    """Each row on an edge gets what its copies get."""
    for at, left in enumerate(padding[::2], 1):
        dim = x.ndim - at
        places = (torch.arange(grad.shape[dim]) - left).clamp(0, x.shape[dim] - 1)
        grad = _to_source(grad, dim, places, x.shape[dim])
    return grad


def _to_source(grad: Tensor, dim: int, places: Tensor, length: int) -> Tensor:
    """Every row added to the one that it is a copy of: a product with rows that are 1 in one place."""
    matrix = (places[:, None] == torch.arange(length)).to(grad.dtype)  # (copies, length)
    return (grad.transpose(dim, -1) @ matrix).transpose(dim, -1)
