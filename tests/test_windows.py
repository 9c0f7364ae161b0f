"""Tests of the sizes of pools and resizings: they are PyTorch's."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pytest_inferena.worker.windows import counts, nearest, overhang, shares

SETTINGS = [
    given
    for given in itertools.product((5, 6, 7, 11), (1, 2, 3), (1, 2, 3), (0, 1), (False, True))
    if given[3] * 2 <= given[1]  # PyTorch pads by at most half a window
]


@pytest.mark.parametrize("dilation", [1, 2])
def test_overhang(dilation: int) -> None:
    """Input, paddings and overhang are as long as the windows that PyTorch makes."""
    for size, kernel, stride, padding, ceil_mode in SETTINGS:
        right = F.max_pool1d(torch.zeros(1, 1, size), kernel, stride, padding, dilation, ceil_mode).shape[-1]
        extra = overhang(size, kernel, stride, padding, dilation, ceil_mode=ceil_mode)
        length = (right - 1) * stride + dilation * (kernel - 1) + 1

        assert length == size + 2 * padding + extra, (size, kernel, stride, padding, ceil_mode)


@pytest.mark.parametrize("include", [True, False])
def test_counts(include: bool) -> None:
    """Sums over windows, divided by the counts, are PyTorch's means."""
    for size, kernel, stride, padding, ceil_mode in SETTINGS:
        x = torch.rand(1, 1, size) + 1
        right = F.avg_pool1d(x, kernel, stride, padding, ceil_mode, include)[0, 0].numpy()
        found = counts(size, kernel, stride, padding, ceil_mode=ceil_mode, count_include_pad=include)
        starts = np.arange(len(right)) * stride - padding
        sums = [x[0, 0, max(start, 0) : max(start + kernel, 0)].sum().item() for start in starts]

        np.testing.assert_allclose(right, sums / found, rtol=1e-6)


@pytest.mark.parametrize(("size", "output"), [(7, 3), (5, 4), (3, 7), (6, 6), (1500, 7)])
def test_shares(size: int, output: int) -> None:
    """The matrix is PyTorch's adaptive mean of the unit vectors."""
    right = F.adaptive_avg_pool1d(torch.eye(size)[None], output)[0].T

    np.testing.assert_allclose(right, shares(size, output), rtol=1e-6)


def test_nearest() -> None:
    """Cells are those that PyTorch shows, at all small sizes."""
    for size, output in itertools.product(range(1, 30), repeat=2):
        x = torch.arange(size, dtype=torch.float32)[None, None]

        assert F.interpolate(x, output, mode="nearest")[0, 0].tolist() == nearest(size, output)
