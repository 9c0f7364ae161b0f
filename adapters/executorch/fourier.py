"""Fourier transforms as products with a matrix: its kernels know no complex numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable


def _turns(rows: int, columns: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    turns = np.outer(np.arange(rows), np.arange(columns)) % length * (2 * np.pi / length)
    cosine, sine = (torch.from_numpy(f(turns).round(15).astype(np.float32)) for f in (np.cos, np.sin))
    return cosine, sine


def rfft(x: torch.Tensor, dim: int) -> tuple[torch.Tensor, ...]:
    """Half the frequencies of real numbers."""
    cosine, sine = _turns(x.shape[dim], x.shape[dim] // 2 + 1, x.shape[dim])
    return tuple((x.transpose(dim, -1) @ one).transpose(dim, -1) for one in (cosine, -sine))


def fft(real: torch.Tensor, imag: torch.Tensor, dim: int, inverse: bool) -> tuple[torch.Tensor, ...]:
    """Of complex numbers, or back."""
    cosine, sine = _turns(real.shape[dim], real.shape[dim], real.shape[dim])
    sine = sine if inverse else -sine
    a, b = real.transpose(dim, -1), imag.transpose(dim, -1)
    return tuple(x.transpose(dim, -1) for x in (a @ cosine - b @ sine, a @ sine + b @ cosine))


def irfft(real: torch.Tensor, imag: torch.Tensor, dim: int, length: int) -> torch.Tensor:
    """Back from half the frequencies, of which most count twice."""
    half = real.shape[dim]
    cosine, sine = _turns(half, length, length)
    twice = torch.from_numpy(np.where(np.arange(half) * 2 % length == 0, 1.0, 2.0).astype(np.float32))[:, None]
    a, b = real.transpose(dim, -1), imag.transpose(dim, -1)
    return (a @ (cosine * twice) - b @ (sine * twice)).transpose(dim, -1)


OPERATORS: dict[str, Callable[..., Any]] = {"fft": fft, "irfft": irfft, "rfft": rfft}
"""In place of what PyTorch computes with complex numbers."""
