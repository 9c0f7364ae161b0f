"""Fourier transforms of pairs: one dimension after the other, of real numbers where they are real."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_inferena.program.expand.tensor import Tensor, cat
from pytest_inferena.program.pairs.numbers import mul, scaled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_inferena.program.pairs.node import Complex, Pair, Rule


def _forward(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Of real numbers, up to half the frequencies."""
    shape = [*x.shape]
    shape[dim] = x.shape[dim] // 2 + 1
    return x.pair("rfft", {"self": x, "dim": dim}, shape)


def _transformed(c: Complex, x: Pair, dim: int, *, inverse: bool) -> Pair:
    """Of all frequencies: what is above half of them mirrors what is below where the numbers are real."""
    real, imag = x
    if imag is not None:
        real = c.whole(x, imag.shape)[0]
        return real.pair("fft", {"real": real, "imag": imag, "dim": dim, "inverse": inverse}, real.shape)
    found, length = [], real.shape[dim]
    for part, side in zip(_forward(real, dim), (1, -1), strict=True):
        below = part if side == 1 or not inverse else -part
        above = below.slice(dim, 1, (length + 1) // 2) if length > 2 else None
        if above is None:
            found.append(below)
            continue
        above = above.make("flip", {"self": above, "dims": [dim]}, above.shape)
        found.append(cat([below, above if side == 1 else -above], dim))
    return found[0], found[1]


def _normal(c: Complex, sizes: tuple[int, ...]) -> float:
    """By what ATen's number for it has a transform multiplied."""
    count = math.prod(sizes[dim] for dim in c.a["dim"])
    by: float = {0: 1.0, 1: count**-0.5, 2: 1 / count}[c.a["normalization"]]
    return by


def _of_real(c: Complex) -> Pair:
    """`_fft_r2c`."""
    x, *_ = c.pair(c.a["self"])
    *others, last = c.a["dim"]
    found = _forward(x, last) if c.a["onesided"] else _transformed(c, (x, None), last, inverse=False)
    for dim in others:
        found = _transformed(c, found, dim, inverse=False)
    return scaled(found, _normal(c, x.shape))


def _of_complex(c: Complex) -> Pair:
    """`_fft_c2c`."""
    found = c.pair(c.a["self"])
    for dim in c.a["dim"]:
        found = _transformed(c, found, dim, inverse=not c.a["forward"])
    return scaled(found, _normal(c, c.out.shape))


def _to_real(c: Complex) -> Tensor:
    """`_fft_c2r`."""
    found, shape = c.pair(c.a["self"]), c.graph.shape(c.a["self"])
    *others, last = c.a["dim"]
    for dim in others:
        found = _transformed(c, found, dim, inverse=True)
    real, imag = c.whole(found, shape)
    arguments = {"real": real, "imag": imag, "dim": last, "length": c.a["last_dim_size"]}
    result: Tensor = mul(real.make("irfft", arguments, c.out.shape), _normal(c, c.out.shape))
    return result


FOURIER: Mapping[str, Rule] = {"_fft_c2c": _of_complex, "_fft_c2r": _to_real, "_fft_r2c": _of_real}
"""ATen's name → the parts of what a node makes, or the real tensor that it makes."""
