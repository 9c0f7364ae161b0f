"""Tensors outside any framework: read one by one from a safetensors file, compared in small pieces."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from pytest_inferena.files import open_plain
from pytest_inferena.worker.strict import parse

if TYPE_CHECKING:
    from pathlib import Path

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
CHUNK = 1 << 20  # elements compared at once: 8 MiB in float64
HEADER = 1 << 12  # bytes of a file's header for each tensor, at most

_PLAIN = "F64 f8, F32 f4, F16 f2, I64 i8, I32 i4, I16 i2, I8 i1, U64 u8, U32 u4, U16 u2, U8 u1, BOOL ?"
_DTYPES = {name: np.dtype(f"<{code}") for name, code in (pair.split() for pair in _PLAIN.split(", "))}
# NumPy lacks these types. Their bytes and names are kept, so that the gate can say what it was given.
_DTYPES |= {
    code: np.dtype(f"V{width}", metadata={"name": name})
    for code, width, name in [
        ("BF16", 2, "bfloat16"),
        ("F8_E4M3", 1, "float8_e4m3"),
        ("F8_E5M2", 1, "float8_e5m2"),
    ]
}


class GoldenFile(Mapping[str, Array | None]):
    """The tensors of a safetensors file as NumPy arrays. Each is read again whenever it is asked for.

    Nothing is mapped or cached, so the process holds only the tensors that its caller holds.

    Args:
        path: the safetensors file.
        none: further names; their value is None (gradients that do not exist).
        names: how many tensors the file should have, if it comes from a worker: its header is read if it fits them.

    Raises:
        ValueError: it is no safetensors file, is cut off, or has a dtype unknown here.
    """

    def __init__(self, path: Path, none: Iterable[str] = (), names: int | None = None) -> None:
        self.path = path
        self._none = dict.fromkeys(none)
        with open_plain(path) as file:
            size = file.seek(0, 2)
            file.seek(0)
            prefix = file.read(8)
            length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else size
            if length > size - 8:
                raise ValueError(f"{path} is no safetensors file, or is cut off: write it again.")
            if names is not None and length > (names + 16) * HEADER:
                raise ValueError(f"{path.name} has a header of {length} bytes, too many for {names} tensors")
            self._start = 8 + length
            try:
                header = parse(file.read(length))
                header.pop("__metadata__", None)
                self._entries = {name: self._entry(entry, size) for name, entry in header.items()}
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
                raise ValueError(f"{path} has a broken safetensors header ({error!r}): write it again.") from error

    def _entry(self, entry: dict[str, Any], size: int) -> tuple[np.dtype[Any], tuple[int, ...], int]:
        dtype, shape = _DTYPES[entry["dtype"]], tuple(int(length) for length in entry["shape"])
        begin, end = entry["data_offsets"]
        if end - begin != math.prod(shape) * dtype.itemsize or not 0 <= begin <= end <= size - self._start:
            raise ValueError(f"offsets {begin} to {end} do not fit shape {shape} or the file")
        return dtype, shape, self._start + begin

    def __getitem__(self, name: str) -> Array | None:
        if name in self._none:
            return None
        dtype, shape, offset = self._entries[name]
        with open_plain(self.path) as file:
            return np.fromfile(file, dtype=dtype, count=math.prod(shape), offset=offset).reshape(shape)

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in self._none

    def __iter__(self) -> Iterator[str]:
        yield from self._entries
        yield from (name for name in self._none if name not in self._entries)

    def __len__(self) -> int:
        return len(self._entries.keys() | self._none.keys())


@dataclass(frozen=True)
class Distance:
    """How far a tensor lies from its golden twin, over all elements, computed in float64."""

    rms: float  # root mean square of golden's finite values; infinite where it has none
    rmse: float  # root mean square of the difference; infinite if `agrees` is false
    worst: int | None  # flat index of the largest difference, or of the first value that does not agree
    agrees: bool  # whether all that is infinite or no number is the same in both: -inf is -inf, NaN is NaN
    special: int = 0  # how many of golden's values are not finite


def distance(golden: Array, other: Array) -> Distance:
    """Compare two tensors of one shape, in pieces of 2**20 elements.

    Args:
        golden: real numbers, any shape, empty allowed.
        other: real numbers of the same shape.

    Raises:
        ValueError: the shapes differ.
    """
    if golden.shape != other.shape:
        raise ValueError(f"shape {other.shape} cannot be compared with {golden.shape}")
    flat_golden, flat_other = golden.reshape(-1), other.reshape(-1)
    golden_squares, error_squares, largest = 0.0, 0.0, -1.0
    worst, agrees, special = None, True, 0
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, golden.size, CHUNK):
            expected = flat_golden[start : start + CHUNK].astype(np.float64)
            error = flat_other[start : start + CHUNK].astype(np.float64)
            if not (finite := np.isfinite(expected)).all():
                special += int((~finite).sum())
                same = ~finite & ((error == expected) | (np.isnan(error) & np.isnan(expected)))
                error[same], expected[~finite] = 0, 0
                error[~finite & ~same] = np.nan
            golden_squares += float(np.dot(expected, expected))
            if agrees and not (is_finite := np.isfinite(error)).all():
                agrees, worst = False, start + int(is_finite.argmin())
            if not agrees:
                continue
            np.subtract(error, expected, out=error)
            error_squares += float(np.dot(error, error))
            np.abs(error, out=error)
            at = int(error.argmax())
            if error[at] > largest:
                largest, worst = float(error[at]), start + at
    if golden.size and special == golden.size:
        golden_squares = math.inf
    count = max(golden.size - special, 1)
    rmse = math.sqrt(error_squares / count) if agrees else math.inf
    return Distance(math.sqrt(golden_squares / count), rmse, worst, agrees, special)
