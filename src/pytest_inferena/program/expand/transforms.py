"""Fourier transforms as products with a matrix; a long one as two shorter ones, by Cooley and Tukey."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_inferena.program.expand.tensor import Tensor, cat
from pytest_inferena.worker.format import Ref

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LONG = 512
"""A transform of more numbers is made of shorter ones, if it has divisors."""
LONGEST = 8192
"""Of more without divisors the matrix would not fit: 256 MiB for each part."""


def _turns(rows: int, columns: int, length: int) -> tuple[Any, Any]:
    """Cosine and sine of row · column / length turns."""
    turns = np.outer(np.arange(rows), np.arange(columns)) % length * (2 * np.pi / length)
    return np.cos(turns).round(15), np.sin(turns).round(15)  # no real number has a trace of an imaginary part


def _constants(x: Tensor, *values: Any) -> tuple[Tensor, ...]:
    return tuple(x.constant(value.astype(x.dtype)) for value in values)


def _turned(real: Tensor, imag: Tensor | None, by: tuple[Any, Any], product: Callable[..., Tensor]) -> Any:
    """Complex numbers times others that are known, by a product of some kind."""
    cosine, sine = _constants(real, *by)
    first, second = product(real, cosine), product(real, sine)
    if imag is None:
        return first, second
    return first - product(imag, sine), second + product(imag, cosine)


def _transform(real: Tensor, imag: Tensor | None, side: int) -> tuple[Tensor, Tensor] | None:
    """Along the last dimension; `side` is -1 forward, 1 back, an imaginary part that is None is zero."""
    length, last = real.shape[-1], real.rank - 1
    rows = next((n for n in range(int(length**0.5), 1, -1) if length % n == 0), 1) if length > LONG else 1
    if rows == 1:
        cosine, sine = _turns(length, length, length)
        return _turned(real, imag, (cosine, side * sine), Tensor.__matmul__) if length <= LONGEST else None
    columns = length // rows

    def columns_of(x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:-1], rows, columns).swap(last, last + 1)  # (…, columns, rows)

    if (inner := _transform(columns_of(real), None if imag is None else columns_of(imag), side)) is None:
        return None
    cosine, sine = _turns(columns, rows, length)
    first, second = _turned(*inner, (cosine, side * sine), Tensor.__mul__)
    if (outer := _transform(first.swap(last, last + 1), second.swap(last, last + 1), side)) is None:
        return None
    first, second = (x.swap(last, last + 1).reshape(*real.shape) for x in outer)
    return first, second


def _rows(x: Tensor, dim: int) -> Tensor:
    """With the dimension as the last one, of a matrix at least."""
    return x.swap(dim, x.rank - 1) if x.rank > 1 else x.reshape(1, -1)


def _back(x: Tensor, dim: int, rank: int) -> Tensor:
    return x.swap(dim, rank - 1) if rank > 1 else x.reshape(-1)


def fft(real: Tensor, imag: Tensor, dim: int, inverse: bool) -> tuple[Tensor, Tensor] | None:
    """With a complex matrix."""
    none = (real.graph.behind(Ref(imag.name), "full") or {}).get("fill_value") == 0
    found = _transform(_rows(real, dim), None if none else _rows(imag, dim), 1 if inverse else -1)
    return None if found is None else (_back(found[0], dim, real.rank), _back(found[1], dim, real.rank))


def rfft(x: Tensor, dim: int) -> tuple[Tensor, Tensor] | None:
    """With the columns of half the frequencies; a long one is that of complex numbers, cut in half."""
    length, rows = x.shape[dim], _rows(x, dim)
    half = length // 2 + 1
    if length <= LONG:
        cosine, sine = _turns(length, half, length)
        found = _turned(rows, None, (cosine, -sine), Tensor.__matmul__)
    elif (whole := _transform(rows, None, -1)) is None:
        return None
    else:
        found = tuple(part.slice(-1, 0, half) for part in whole)
    return _back(found[0], dim, x.rank), _back(found[1], dim, x.rank)


def irfft(real: Tensor, imag: Tensor, dim: int, length: int) -> Tensor | None:
    """All frequencies but the first, and the one in the middle, count twice."""
    rank, half = real.rank, length // 2 + 1
    real, imag = (_rows(x, dim) for x in (real, imag))
    last = real.rank - 1
    if length > LONG:
        above = (x.slice(last, 1, (length + 1) // 2) for x in (real, imag))
        mirrored = [x.make("flip", {"self": x, "dims": [last]}, x.shape) for x in above]
        found = _transform(cat([real, mirrored[0]], last), cat([imag, -mirrored[1]], last), 1)
        return None if found is None else _back(found[0], dim, rank)
    cosine, sine = _turns(half, length, length)
    twice = np.where((np.arange(half) * 2) % length == 0, 1.0, 2.0)[:, None]
    first, second = _constants(real, cosine * twice, sine * twice)
    return _back(real @ first - imag @ second, dim, rank)


EXPANSIONS: Mapping[str, Callable[..., Any]] = {"fft": fft, "irfft": irfft, "rfft": rfft}
"""Operator → a function of its arguments."""
