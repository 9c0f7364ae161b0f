"""Functions with complex numbers inside, by example: Fourier transforms, spectrograms, rotations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, fft
from torch import view_as_real as real

if TYPE_CHECKING:
    from collections.abc import Callable

TURNS = torch.polar(torch.ones(8, 4), torch.outer(torch.arange(8.0), 0.3 ** torch.arange(4.0)))
"""Position by frequency, as Llama's code has it."""
WINDOW = torch.hann_window(16)


def _rows(x: Tensor) -> Tensor:
    """Six signals of 64 numbers."""
    return x.flatten(2).flatten(0, 1)


def _spectrum(x: Tensor, hop: int = 4) -> Tensor:
    return torch.stft(_rows(x), 16, hop, window=WINDOW, return_complex=True)


def _fourier_layer(x: Tensor) -> Tensor:
    """As neural operators have it: only low frequencies go on, each mixed by weights of its own."""
    found = fft.rfft2(x)
    mixed = torch.einsum("bchw,cdw->bdhw", found[..., :3], torch.complex(IMAGE[0, :, :3, :3], IMAGE[1, :, :3, :3]))
    whole = torch.zeros(2, 3, 8, 5, dtype=torch.cfloat)
    whole[..., :3] = mixed
    return fft.irfft2(whole, s=(8, 8))


def _long_convolution(x: Tensor) -> Tensor:
    """With a filter as long as the signal."""
    return fft.irfft(fft.rfft(_rows(x), n=600) * fft.rfft(_rows(IMAGE.flip(0)), n=600), n=600)[:, :64]


IMAGE = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
COMPLEX: dict[str, Callable[[Tensor], Tensor]] = {
    "abs": lambda x: fft.fft(x).abs(),
    "add": lambda x: real(fft.fft(x) + x - 2j * x + 1),
    "angle": lambda x: fft.fft(x)[..., 1:4].angle(),
    "as_strided": lambda x: _rows(x).as_strided((3, 5, 2), (7, 2, 3), 1),
    "as_strided-rows": lambda x: x.reshape(2, 3, 64).as_strided((2, 3, 9, 12), (192, 64, 5, 1)),
    "cat": lambda x: torch.cat([fft.fft(x), x.to(torch.cfloat)], 1).abs(),
    "complex": lambda x: real(torch.complex(x, x.flip(0)).conj() * 1j),
    "conv1d": lambda x: F.conv1d(fft.fft(x[:, 0]), fft.fft(x[0, :2, :, :3]), torch.tensor([1j, 2])).imag,
    "div": lambda x: real(fft.fft(x) / (fft.fft(x.flip(1)) + 9)),
    "einsum": lambda x: torch.einsum("bchw,bdhw->bcd", fft.fft(x), fft.fft(x).conj()).real,
    "exp": lambda x: real(torch.exp(torch.complex(x * 0.1, x))),
    "fft": lambda x: real(fft.fft(x, norm="ortho")),
    "fft2-fnet": lambda x: fft.fft(fft.fft(x, dim=-1), dim=-2).real,
    "fft2": lambda x: real(fft.fft2(x, norm="forward")),
    "fftn": lambda x: fft.fftn(x, dim=(1, 2, 3)).imag,
    "fftshift": lambda x: fft.ifftshift(fft.fftshift(fft.fft(x))[..., 1:]).abs(),
    "fourier_layer": _fourier_layer,
    "hfft": lambda x: fft.hfft(fft.ihfft(x) * 1j, n=9),
    "ifft": lambda x: real(fft.ifft(fft.fft(x, n=12) * torch.complex(x, x).sum(), n=7, dim=1)),
    "irfft": lambda x: fft.irfft(torch.complex(x, x.flip(0)), n=11),
    "irfft2": lambda x: fft.irfft2(fft.rfft2(x) * 2),
    "irfftn": lambda x: fft.irfftn(fft.rfftn(x, dim=(1, 2, 3), norm="ortho"), dim=(1, 2, 3)),
    "istft": lambda x: torch.istft(_spectrum(x) * 2, 16, 4, window=WINDOW, length=64),
    "istft-uneven": lambda x: torch.istft(_spectrum(x, 5), 16, 5, window=WINDOW),
    "linear": lambda x: real(
        F.linear(fft.fft(x), torch.complex(x[0, 0], x[0, 1]), torch.complex(x[0, 0, 0], x[0, 1, 0]))
    ),
    "log": lambda x: torch.log(torch.complex(x.abs() + 1, x)).imag,
    "long_convolution": _long_convolution,
    "matmul": lambda x: real(fft.fft(x) @ fft.fft(x.mT)),
    "mean": lambda x: fft.fft(x).mean((1, 2)).abs(),
    "norm": lambda x: torch.linalg.vector_norm(fft.rfft(x), dim=1),
    "polar": lambda x: real(torch.polar(x.abs() + 1, x)),
    "pow": lambda x: real(fft.fft(x * 0.1) ** 3 + torch.complex(x.abs() + 1, x) ** 0.7),
    "reciprocal": lambda x: real(1 / (fft.fft(x) + 9)),
    "rfft-odd": lambda x: fft.irfft(fft.rfft(x, n=7) * 2, n=7),
    "rotary": lambda x: real(torch.view_as_complex(x.reshape(2, 3, 8, 4, 2)) * TURNS).flatten(3),
    "sgn": lambda x: real(torch.sgn(fft.rfft(x)[..., 1:4])),
    "spectrogram": lambda x: (_spectrum(x).abs() ** 2 + 1e-6).log10(),
    "sqrt": lambda x: real(torch.complex(x.abs() + 1, x).sqrt()),
    "stft": lambda x: real(_spectrum(x)),
    "unfold": lambda x: x.unfold(3, 5, 2),
}
"""Name → function of an image."""
