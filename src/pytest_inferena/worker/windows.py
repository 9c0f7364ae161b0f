"""Sizes of pools and resizings as PyTorch counts them, for operator tables whose engine counts in another way.

Each function works along one dimension and from sizes alone, and returns plain integers or constants.
"""

from __future__ import annotations

import numpy as np


def overhang(  # noqa: PLR0913 - a pool has as many numbers
    size: int, kernel: int, stride: int, padding: int, dilation: int = 1, *, ceil_mode: bool = False
) -> int:
    """How many cells beyond the right padding the last window reads; negative where it ends before them.

    With `ceil_mode`, cells that are left over get one more window, if that begins inside the input or its left
    padding (https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxPool2d.html).
    """
    span = dilation * (kernel - 1) + 1
    room = size + 2 * padding - span
    windows = -(-room // stride) if ceil_mode else room // stride
    if ceil_mode and windows * stride >= size + padding:
        windows -= 1
    return windows * stride - room


def counts(  # noqa: PLR0913 - the same
    size: int, kernel: int, stride: int, padding: int, *, ceil_mode: bool, count_include_pad: bool
) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """By how many cells the mean of each window divides: those of the input, and of the padding where it counts."""
    extra = overhang(size, kernel, stride, padding, ceil_mode=ceil_mode)
    windows = (size + 2 * padding + extra - kernel) // stride + 1
    starts = np.arange(windows) * stride - padding
    low, high = (-padding, size + padding) if count_include_pad else (0, size)
    ends = np.minimum(starts + kernel, high)
    return (ends - np.maximum(starts, low)).astype(np.float32)


def shares(size: int, output: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """An adaptive mean as a matrix (output, size): row i is the mean of cells ⌊i·n/o⌋ to ⌈(i+1)·n/o⌉."""
    matrix = np.zeros((output, size), np.float32)
    for row in range(output):
        start, end = row * size // output, -(-(row + 1) * size // output)
        matrix[row, start:end] = 1 / (end - start)
    return matrix


def nearest(size: int, output: int, scale: float | None = None) -> list[int]:
    """Which cell of the input each cell of a nearest-neighbour resizing shows; PyTorch counts in float32.

    By a scale where one is given, which the sizes need not have.
    """
    step = np.float32(1 / scale) if scale else np.float32(size) / np.float32(output)
    return [min(int(np.float32(cell) * step), size - 1) for cell in range(output)]
