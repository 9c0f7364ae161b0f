"""The gradients of a convolution, spelled by what every engine does well: a convolution and a product of matrices."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from pytest_inferena.program.graph import NotExportable

aten = torch.ops.aten


def convolution_backward(
    grad: Tensor, x: Tensor, weight: Tensor, bias_sizes: list[int] | None, stride: list[int], padding: list[int],
    dilation: list[int], transposed: bool, output_padding: list[int], groups: int, mask: list[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:  # fmt: skip
    """Of the input, the weight and the bias, as far as `mask` asks for them."""
    del bias_sizes, output_padding
    if transposed:
        raise NotExportable("the gradient of a transposed convolution")
    grad_x = _of_input(grad, x, weight, stride, padding, dilation, groups) if mask[0] else None
    grad_weight = _of_weight(grad, x, weight, stride, padding, dilation, groups) if mask[1] else None
    grad_bias = grad.sum([0, *range(2, grad.ndim)]) if mask[2] else None
    return grad_x, grad_weight, grad_bias


def _of_input(
    grad: Tensor, x: Tensor, weight: Tensor, stride: list[int], padding: list[int], dilation: list[int], groups: int
) -> Tensor:
    """A convolution with the weight turned around; a transposed one where a stride has left gaps."""
    kernel = weight.shape[2:]
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    around = [r - p for r, p in zip(reach, padding, strict=True)]
    if set(stride) == {1} and min(around) >= 0:
        outputs, inputs = weight.shape[0] // groups, weight.shape[1]
        turned = weight.flip(list(range(2, weight.ndim))) if set(kernel) != {1} else weight
        turned = turned.reshape(groups, outputs, inputs, *kernel).transpose(1, 2)
        turned = turned.reshape(groups * inputs, outputs, *kernel)
        return aten.convolution(grad, turned, None, stride, around, dilation, False, [0] * len(kernel), groups)
    left = [
        x.shape[2 + i] - ((grad.shape[2 + i] - 1) * stride[i] - 2 * padding[i] + reach[i] + 1)
        for i in range(len(kernel))
    ]
    return aten.convolution(grad, weight, None, stride, padding, dilation, True, left, groups)


def _of_weight(
    grad: Tensor, x: Tensor, weight: Tensor, stride: list[int], padding: list[int], dilation: list[int], groups: int
) -> Tensor:
    """One product over all pixels of the batch: grad (O, B · pixels) with what each tap saw (taps · C, B · pixels).

    As a convolution of swapped roles its kernel would be as large as an image, for which engines are slow.
    """
    kernel, pixels = weight.shape[2:], grad.shape[2:]
    seen = aten.constant_pad_nd(x.transpose(0, 1), [p for pad in reversed(padding) for p in (pad, pad)])  # (C, B, …)
    taps = []
    for tap in itertools.product(*map(range, kernel)):
        part = seen
        for i, at in enumerate(tap):
            start = at * dilation[i]
            part = aten.slice(part, 2 + i, start, start + (pixels[i] - 1) * stride[i] + 1, stride[i])
        taps.append(part)
    count, inputs, outputs = len(taps), weight.shape[1], weight.shape[0] // groups
    columns = torch.cat(taps).reshape(count, groups, inputs, -1).transpose(0, 1)
    columns = columns.reshape(groups, count * inputs, -1)
    rows = grad.transpose(0, 1).reshape(groups, outputs, -1)
    if groups == 1:
        product = aten.mm(rows.reshape(outputs, -1), columns.reshape(count * inputs, -1).t())
    else:
        product = aten.bmm(rows, columns.transpose(1, 2))
    return product.reshape(groups * outputs, count, inputs).transpose(1, 2).reshape(weight.shape)
