"""The gradients of a convolution, spelled by what every engine does well: a convolution and a product of matrices."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

aten = torch.ops.aten


def convolution_backward(
    grad: Tensor, x: Tensor, weight: Tensor, bias_sizes: list[int] | None, stride: list[int], padding: list[int],
    dilation: list[int], transposed: bool, output_padding: list[int], groups: int, mask: list[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:  # fmt: skip
    """Of the input, the weight and the bias, as far as `mask` asks for them."""
    del bias_sizes, output_padding
    if transposed:  # the gradient of a convolution's input: its own is the convolution, with both in each other's place
        straight = (stride, padding, dilation, False, [0] * len(stride), groups)
        grad_x = _cut(aten.convolution(grad, weight, None, *straight), x.shape) if mask[0] else None
        grad_weight = _of_weight(x, grad, weight, stride, padding, dilation, groups) if mask[1] else None
    else:
        grad_x = of_input(grad, x, weight, stride, padding, dilation, groups) if mask[0] else None
        grad_weight = _of_weight(grad, x, weight, stride, padding, dilation, groups) if mask[1] else None
    grad_bias = grad.sum([0, *range(2, grad.ndim)]) if mask[2] else None
    return grad_x, grad_weight, grad_bias


def of_input(
    grad: Tensor, x: Tensor, weight: Tensor, stride: list[int], padding: list[int], dilation: list[int], groups: int
) -> Tensor:
    """A transposed convolution: engines read the weight as it lies; turning it around would copy it every step."""
    kernel = weight.shape[2:]
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    left = [
        x.shape[2 + i] - ((grad.shape[2 + i] - 1) * stride[i] - 2 * padding[i] + reach[i] + 1)
        for i in range(len(kernel))
    ]
    found = aten.convolution(grad, weight, None, stride, padding, dilation, True, [max(0, n) for n in left], groups)
    return _cut(found, x.shape)


def _cut(found: Tensor, shape: Sequence[int]) -> Tensor:
    """What is longer than the image belongs to windows that reach over its edge, or to an output_padding."""
    for at, size in enumerate(shape[2:], 2):
        found = aten.slice(found, at, 0, size) if found.shape[at] > size else found
    return found


def _of_weight(
    grad: Tensor, x: Tensor, weight: Tensor, stride: list[int], padding: list[int], dilation: list[int], groups: int
) -> Tensor:
    """One product over all pixels of the batch: grad (O, B · pixels) with what each tap saw (taps · C, B · pixels).

    As a convolution of swapped roles its kernel would be as large as an image, for which engines are slow.
    """
    kernel, inputs, outputs = weight.shape[2:], weight.shape[1], weight.shape[0] // groups
    seen = aten.constant_pad_nd(x.transpose(0, 1), [p for pad in reversed(padding) for p in (pad, pad)])  # (C, B, …)
    told = grad.transpose(0, 1)  # (O, B, …)
    if set(stride) == {1} and kernel[-1] > 1:
        told, taps = _shifted(told, seen, kernel, dilation)
    else:
        taps = [_window(seen, tap, told.shape[2:], stride, dilation) for tap in _taps(kernel)]
    columns = torch.stack(taps, 1).reshape(groups, inputs * len(taps), -1)  # in the weight's order
    rows = told.reshape(groups, outputs, -1)
    if groups == 1:
        product = aten.mm(rows.reshape(outputs, -1), columns.reshape(inputs * len(taps), -1).t())
    else:
        product = aten.bmm(rows, columns.transpose(1, 2))
    return product.reshape(weight.shape)


def _taps(kernel: Sequence[int]) -> Iterator[tuple[int, ...]]:
    return itertools.product(*map(range, kernel))


def _window(
    seen: Tensor, tap: tuple[int, ...], pixels: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> Tensor:
    """What one tap saw, for as many dimensions as it has numbers."""
    for i, at in enumerate(tap):
        start = at * dilation[i]
        seen = aten.slice(seen, 2 + i, start, start + (pixels[i] - 1) * stride[i] + 1, stride[i])
    return seen


def _shifted(told: Tensor, seen: Tensor, kernel: Sequence[int], dilation: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
    """The gradient (O, n) and what each tap saw (C, n), in long runs that are quick to copy.

    The gradient's lines are filled up with zeros to the length of the padded image's; a tap's place in the line
    is then a shift of the whole image: what runs over into the next line meets a zero.
    """
    reach = dilation[-1] * (kernel[-1] - 1)
    seen = aten.slice(seen, -1, 0, told.shape[-1] + reach)  # a transposed convolution's image may have more
    told = aten.constant_pad_nd(told, [0, reach])
    length, taps = told[0].numel() - reach, []
    for tap in _taps(kernel[:-1]):
        lines = _window(seen, tap, told.shape[2:], [1] * len(tap), dilation).reshape(seen.shape[0], -1)
        shifts = (at * dilation[-1] for at in range(kernel[-1]))
        taps += [aten.slice(lines, 1, shift, shift + length) for shift in shifts]
    return aten.slice(told.reshape(told.shape[0], -1), 1, 0, length), taps
