"""Operators beyond the closed set that put numbers in order, or look at all that stand before one.

Each number is compared with every other of its row, so that a row of n takes n² comparisons.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_inferena.program.graph import NotExportable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_inferena.program.beyond.functions import Rule
    from pytest_inferena.program.expand.tensor import Tensor
    from pytest_inferena.worker.format import TensorSpec

    Outputs = tuple[TensorSpec, ...]

MOST = 1 << 28
"""How many comparisons one operator may take: 256 MiB of them."""


def _rows(x: Tensor, dim: int) -> Tensor:
    """With the dimension as the last one; of a single number, a row of one."""
    return x.swap(dim, x.rank - 1) if x.rank else x.reshape(1)


def _back(x: Tensor, dim: int, shape: tuple[int, ...]) -> Tensor:
    return (x.swap(dim, x.rank - 1) if x.rank else x).reshape(*shape)


def _pairs(x: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (…, n) as (…, n, 1) and (…, 1, n).

    Raises:
        NotExportable: there would be too many pairs.
    """
    lead, length = x.shape[:-1], x.shape[-1]
    if math.prod(x.shape) * length > MOST:
        raise NotExportable(
            f"sorting rows of {length} numbers, {math.prod(lead)} of them, compares each with each, which is more than "
            "memory has room for; sort less, or take the largest with amax or argmax"
        )
    return x.reshape(*lead, length, 1), x.reshape(*lead, 1, length)


def _gathered(x: Tensor, index: Tensor) -> Tensor:
    return x.make("gather", {"self": x, "dim": x.rank - 1, "index": index}, index.shape)


def _order(x: Tensor, descending: bool) -> Tensor:
    """Rows to the places of their numbers in order; of equal ones the first comes first."""
    length = x.shape[-1]
    here, other = _pairs(x.detach())
    numbers = np.arange(length)
    earlier = x.constant(numbers[None, :] < numbers[:, None])  # (n, n): the other one stands before
    ahead = other.compare("gt" if descending else "lt", here).to("float32")
    tied = (other.compare("eq", here) & earlier).to("float32")
    rank = (ahead + tied).reduce("sum", [-1])  # (…, n, 1)
    chosen = rank.compare("eq", x.constant(numbers.astype(np.float32)))  # (…, n, place in order)
    places = chosen.to("float32") * x.constant(numbers.astype(np.float32).reshape(length, 1))
    return places.reduce("sum", [-2], keepdim=False).to("int64")


def _ordered(a: Mapping[str, Any], out: Outputs, first: int, last: int, *, descending: bool) -> tuple[Tensor, Tensor]:
    """Values and places of a part of the order."""
    dim = a.get("dim", -1) % max(1, a["self"].rank)
    x = _rows(a["self"], dim)
    index = _order(x, descending).slice(x.rank - 1, first, last)
    return _back(_gathered(x, index), dim, out[0].shape), _back(index, dim, out[1].shape)


def sort(a: Mapping[str, Any], out: Outputs) -> tuple[Tensor, Tensor]:
    """All of it."""
    length = a["self"].shape[a["dim"]] if a["self"].rank else 1
    return _ordered(a, out, 0, length, descending=a["descending"])


def topk(a: Mapping[str, Any], out: Outputs) -> tuple[Tensor, Tensor]:
    """The first ones."""
    return _ordered(a, out, 0, a["k"], descending=a["largest"])


def kthvalue(a: Mapping[str, Any], out: Outputs) -> tuple[Tensor, Tensor]:
    """One of it."""
    return _ordered(a, out, a["k"] - 1, a["k"], descending=False)


def median(a: Mapping[str, Any], out: Outputs) -> Tensor | tuple[Tensor, Tensor]:
    """The one in the middle, the lower of two."""
    if "dim" in a:
        length = a["self"].shape[a["dim"]] if a["self"].rank else 1
        return kthvalue({**a, "k": (length + 1) // 2}, out)
    x: Tensor = a["self"].reshape(-1)
    at = (x.shape[0] - 1) // 2
    return _gathered(x, _order(x, descending=False).slice(0, at, at + 1)).reshape(*out[0].shape)


def _before(x: Tensor) -> Tensor:
    """(n, n): where the number of a column stands before that of a row, or is it."""
    return x.constant(np.tri(x.shape[-1], dtype=bool))


def running(largest: bool) -> Rule:
    """`cummax` and `cummin`: the extreme so far, and the last place that it stood at."""

    def rule(a: Mapping[str, Any], out: Outputs) -> tuple[Tensor, Tensor]:
        dim = a["dim"] % max(1, a["self"].rank)
        given = _rows(a["self"], dim)
        x = (given if largest else -given).detach()
        here, other = _pairs(x)
        seen = _before(x)
        best = seen.where(other, here).reduce("amax", [-1])
        last = seen & other.compare("eq", best)
        place = last.to("float32") * x.constant(np.arange(x.shape[-1], dtype=np.float32))
        index = place.reduce("amax", [-1], keepdim=False).to("int64")
        return _back(_gathered(given, index), dim, out[0].shape), _back(index, dim, out[1].shape)

    return rule


def logcumsumexp(a: Mapping[str, Any], out: Outputs) -> Tensor:
    """Of powers less the largest one so far."""
    dim = a["dim"] % max(1, a["self"].rank)
    x = _rows(a["self"].to(out[0].dtype), dim)
    here, other = _pairs(x)
    seen = _before(x)
    largest = seen.where(other.detach(), here.detach()).reduce("amax", [-1]).maximum(-3e38)
    powers = (seen.where(other, largest) - largest).unary("exp")
    total = (powers * seen.to(x.dtype)).reduce("sum", [-1]).unary("log") + largest
    return _back(total.reshape(*x.shape), dim, out[0].shape)


ORDER: Mapping[str, Rule] = {
    "cummax": running(True),
    "cummin": running(False),
    "kthvalue": kthvalue,
    "logcumsumexp": logcumsumexp,
    "median": median,
    "sort": sort,
    "topk": topk,
}
"""ATen's name → a function of the arguments by ATen's names, and of what the node makes."""
