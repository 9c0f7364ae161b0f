"""Gradients of Fourier transforms written by hand, so that those of a training step are transforms too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd import Function

from pytest_inferena.program.opaque import whole
from pytest_inferena.worker import aten as spelled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FOURIER = {
    name: whole(schema, function, meta)
    for name, schema, function, meta in (
        ("fft", "fft(Tensor real, Tensor imag, int dim, bool inverse) -> (Tensor, Tensor)", spelled.fft,
         lambda real, *_: (torch.empty_like(real), torch.empty_like(real))),
        ("rfft", "rfft(Tensor self, int dim) -> (Tensor, Tensor)", spelled.rfft,
         lambda x, dim: (_sized(x, dim, x.shape[dim] // 2 + 1), _sized(x, dim, x.shape[dim] // 2 + 1))),
        ("irfft", "irfft(Tensor real, Tensor imag, int dim, int length) -> Tensor", spelled.irfft,
         lambda real, _, dim, length: _sized(real, dim, length)),
    )
}  # fmt: skip
"""The transforms in two parts, which ATen has in complex numbers."""


class Fourier(Function):
    """A product with a symmetric matrix of complex numbers; backwards with what they are in the mirror."""

    @staticmethod
    def forward(ctx: Any, real: Tensor, imag: Tensor, dim: int, inverse: bool) -> Any:
        """Not scaled either way."""
        ctx.settings = dim, inverse
        return FOURIER["fft"](real, imag, dim, inverse)

    @staticmethod
    def backward(ctx: Any, real: Tensor, imag: Tensor) -> tuple[Tensor | None, ...]:
        """The other way."""
        dim, inverse = ctx.settings
        return *FOURIER["fft"](real, imag, dim, not inverse), None, None


class RealFourier(Function):
    """The columns of that matrix up to the middle, for a vector of real numbers."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int) -> Any:
        """Half the frequencies."""
        ctx.dim, ctx.length = dim, x.shape[dim]
        return FOURIER["rfft"](x, dim)

    @staticmethod
    def backward(ctx: Any, real: Tensor, imag: Tensor) -> tuple[Tensor, None]:
        """The way back counts each but the first and the one in the middle twice, so half of them here."""
        weight = _once(real, ctx.dim, ctx.length, 0.5)
        return FOURIER["irfft"](real * weight, imag * weight, ctx.dim, ctx.length), None


class BackToReal(Function):
    """The way back from half the frequencies."""

    @staticmethod
    def forward(ctx: Any, real: Tensor, imag: Tensor, dim: int, length: int) -> Any:
        """Real numbers."""
        ctx.settings = dim, length
        return FOURIER["irfft"](real, imag, dim, length)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Forward, where each but the first and the one in the middle counts twice."""
        dim, length = ctx.settings
        real, imag = FOURIER["rfft"](grad, dim)
        weight = _once(real, dim, length, 2.0)
        return real * weight, imag * weight, None, None


def _once(x: Tensor, dim: int, length: int, others: float) -> Tensor:
    """1 at the frequencies that stand alone: zero and, of an even length, the one in the middle."""
    at = torch.arange(x.shape[dim])
    weight = torch.where(2 * at % length == 0, 1.0, others).to(x.dtype)
    return weight.reshape(-1, *[1] * (x.ndim - dim - 1))


def _sized(x: Tensor, dim: int, length: int) -> Tensor:
    return x.new_empty([*x.shape[:dim], length, *x.shape[dim + 1 :]])


def _fft(real: Tensor, imag: Tensor, dim: int, inverse: bool) -> Any:
    return Fourier.apply(real, imag, dim, inverse)


def _irfft(real: Tensor, imag: Tensor, dim: int, length: int) -> Any:
    return BackToReal.apply(real, imag, dim, length)


def _rfft(x: Tensor, dim: int) -> Any:
    return RealFourier.apply(x, dim)


GRADIENTS: Mapping[Any, Callable[..., Any]] = {spelled.fft: _fft, spelled.irfft: _irfft, spelled.rfft: _rfft}
"""By what a Program's operator is in a torch module."""
