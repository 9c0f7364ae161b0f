"""What moves numbers by place or by index, written with simpler operators."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_inferena.program.expand.tensor import Tensor, cat

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def stepped(x: Tensor, dim: int, start: int, end: int, step: int) -> Tensor | None:
    """Every step-th row: the first of each group of `step` rows."""
    if step == 1:
        return None
    count = len(range(start, end, step))
    x = x.slice(dim, start, min(start + count * step, x.shape[dim]))
    x = x.pad(dim, 0, count * step - x.shape[dim])
    groups = x.reshape(*x.shape[:dim], count, step, *x.shape[dim + 1 :]).slice(dim + 1, 0, 1)
    return groups.reshape(*x.shape[:dim], count, *x.shape[dim + 1 :])


def spread(x: Tensor, dim: int, step: int, length: int) -> Tensor:
    """The inverse: rows `step` apart with zeros between and behind them, `length` in all."""
    if step > 1:
        count = x.shape[dim]
        x = x.reshape(*x.shape[: dim + 1], 1, *x.shape[dim + 1 :]).pad(dim + 1, 0, step - 1)
        x = x.reshape(*x.shape[:dim], count * step, *x.shape[dim + 2 :])
    return x.slice(dim, 0, min(length, x.shape[dim])).pad(dim, 0, max(length - x.shape[dim], 0))


def slice_scatter(x: Tensor, values: Tensor, dim: int, start: int, end: int, step: int) -> Tensor:
    """A copy of x with `values` in place of a slice."""
    length = x.shape[dim]
    placed = spread(values, dim, step, length - start).pad(dim, start, 0)
    inside = np.isin(np.arange(length), np.arange(start, end, step))
    return x.constant(inside.reshape(-1, *[1] * (x.rank - dim - 1))).where(placed, x)


def index_select(x: Tensor, dim: int, index: Tensor) -> Tensor:
    """Rows of a table, the dimension being the first one."""
    if x.rank == 0:
        return x
    front = [dim, *(at for at in range(x.rank) if at != dim)]
    found = x.permute(*front).rows(index.reshape(-1))
    return found.permute(*(front.index(at) for at in range(x.rank)))


def _by_numbers(x: Tensor, dim: int, numbers: Any) -> Tensor:
    index = x.constant(np.asarray(numbers, np.int64))
    shape = [*x.shape]
    shape[dim] = len(numbers)
    return x.make("index_select", {"self": x, "dim": dim, "index": index}, shape)


def flip(x: Tensor, dims: list[int]) -> Tensor:
    """Rows in the other order."""
    for dim in dims:
        x = _by_numbers(x, dim, range(x.shape[dim])[::-1])
    return x


def roll(x: Tensor, shifts: list[int], dims: list[int]) -> Tensor:
    """What falls out at one end comes in at the other."""
    for shift, dim in zip(shifts, dims, strict=True):
        split = -shift % x.shape[dim]
        x = cat([x.slice(dim, split, x.shape[dim]), x.slice(dim, 0, split)], dim) if split else x
    return x


def pad(x: Tensor, sizes: list[int], mode: str, value: float | None) -> Tensor | None:
    """Rows repeated; `sizes` has two numbers for each dimension, the last one first; negative ones cut rows off."""
    del value
    modes = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    for at in range(0, len(sizes), 2):
        dim = x.rank - 1 - at // 2
        first, last = sizes[at : at + 2]
        kept = np.arange(max(0, -first), x.shape[dim] - max(0, -last))
        numbers = np.pad(kept, (max(0, first), max(0, last)), modes[mode])  # type: ignore[call-overload] # three of its modes
        x = _by_numbers(x, dim, numbers)
    return x


def _one_hot(index: Tensor, count: int) -> Tensor:
    """True at the number, along a new last dimension."""
    numbers = index.constant(np.arange(count)).to(index.dtype)
    return index.reshape(*index.shape, 1).compare("eq", numbers)


def embedding(table: Tensor, indices: Tensor) -> Tensor:
    """A product with rows that are 1 in one place."""
    places = _one_hot(indices.reshape(-1), table.shape[0]).to(table.dtype)
    return (places @ table).reshape(*indices.shape, table.shape[1])


def gather(x: Tensor, dim: int, index: Tensor) -> Tensor:
    """One number for each index, along a dimension: the sum of all, the others being zero."""
    for at, size in enumerate(index.shape):
        x = x if at == dim else x.slice(at, 0, size)
    index, x = index.swap(dim, index.rank - 1), x.swap(dim, x.rank - 1)
    places = _one_hot(index, x.shape[-1])  # (…, K, N)
    rows = x.reshape(*x.shape[:-1], 1, x.shape[-1])
    found = places.where(rows, 0.0 if x.dtype.startswith("float") else 0).reduce("sum", [-1], keepdim=False)
    return found.swap(dim, found.rank - 1)


EXACT = 1 << 24
"""Whole numbers below it are exact in 32 bits of a float."""


def index(x: Tensor, indices: list[Tensor | None]) -> Tensor | None:
    """Rows by one tensor; by several, as NumPy: rows by one number that counts through these dimensions."""
    dims = [at for at, one in enumerate(indices) if one is not None]
    if any(one is not None and one.dtype == "bool" for one in indices):
        return None
    given = [(one, x.shape[dim]) for dim, one in enumerate(indices) if one is not None]
    number, front = _counted(given), dims[0]
    if len(dims) > 1:  # these dimensions are one, where they lie side by side; else they come first
        front = front if dims == [*range(front, dims[-1] + 1)] else 0
        rest = [dim for dim in range(x.rank) if dim not in dims]
        order = [*rest[:front], *dims, *rest[front:]]
        kept = [x.shape[dim] for dim in rest]
        x = x.permute(*order).reshape(*kept[:front], math.prod(x.shape[dim] for dim in dims), *kept[front:])
    rows = number.reshape(-1)
    shape = [*x.shape[:front], rows.shape[0], *x.shape[front + 1 :]]
    found = x.make("index_select", {"self": x, "dim": front, "index": rows}, shape)
    return found.reshape(*x.shape[:front], *number.shape, *x.shape[front + 1 :])


def _counted(given: list[tuple[Tensor, int]]) -> Tensor:
    """One number for each place, by numbers in each dimension and its size; those that count from the end are mended.

    In floats where they are exact, for many engines compute in nothing else.
    """
    first = given[0][0]
    sizes = [size for _, size in given]
    known = [first.graph.constants.get(one.name) for one, _ in given]
    places = [np.where(at < 0, at + size, at) for at, size in zip(known, sizes, strict=True) if at is not None]
    if len(places) == len(given):
        return first.constant(np.ravel_multi_index(np.broadcast_arrays(*places), sizes))
    exact = math.prod(sizes) < EXACT
    total = None
    for one, size in given:
        number = one.to("float32") if exact else one
        number = number.compare("lt", 0).where(number + size, number)
        total = number if total is None else total * size + number
    assert total is not None  # noqa: S101 - there is at least one
    return total.to(first.dtype)


def index_put(x: Tensor, indices: list[Tensor], values: Tensor, accumulate: bool) -> Tensor:
    """Values added to rows, by a product with rows that are 1 in one place; or written in place of them.

    Which value counts where a row is named twice is open in PyTorch, on the CPU it is the last.
    """
    count, rest = len(indices), x.shape[len(indices) :]
    number = _counted([*zip(indices, x.shape, strict=False)]) if count > 1 or not accumulate else indices[0]
    places = _one_hot(number.reshape(-1), math.prod(x.shape[:count]))  # (M, N)
    flat = values.expand(*number.shape, *rest).reshape(places.shape[0], -1)
    if accumulate:
        return x + (places.to(x.dtype).swap(0, 1) @ flat).reshape(*x.shape)
    turns = x.constant(np.arange(1, places.shape[0] + 1, dtype=np.float32).reshape(-1, 1))
    last = (places.to("float32") * turns).reduce("amax", [0], keepdim=False)  # 0: none
    which = (last.maximum(1.0) - 1.0).to("int64")
    shape = (places.shape[1], flat.shape[1])
    found = x.make("index_select", {"self": flat, "dim": 0, "index": which}, shape)
    return last.compare("gt", 0.0).reshape(-1, 1).where(found, x.reshape(*shape)).reshape(*x.shape)


def scatter_add(x: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor | None:
    """Numbers added to the places that they are meant for, along a dimension."""
    others = [at for at in range(x.rank) if at != dim]
    if any(index.shape[at] != x.shape[at] for at in others):
        return None
    source = source.slice(dim, 0, index.shape[dim])
    index, source = index.swap(dim, x.rank - 1), source.swap(dim, x.rank - 1)
    places = _one_hot(index, x.shape[dim])  # (…, K, N)
    rows = source.reshape(*source.shape, 1)
    return x + places.where(rows, 0.0).reduce("sum", [-2], keepdim=False).swap(dim, x.rank - 1)


EXPANSIONS: Mapping[str, Callable[..., Tensor | None]] = {
    "embedding": embedding,
    "flip": flip,
    "gather": gather,
    "index": index,
    "index_put": index_put,
    "index_select": index_select,
    "pad": pad,
    "roll": roll,
    "scatter_add": scatter_add,
    "slice": stepped,
    "slice_scatter": slice_scatter,
}
"""Operator → a function of the node's arguments in their order; None where these can't be expanded."""
