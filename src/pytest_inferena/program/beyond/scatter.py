"""Numbers written where an index says: each place looks for the last that is meant for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_inferena.program.beyond.whole import along

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_inferena.program.beyond.functions import Rule
    from pytest_inferena.program.expand.tensor import Tensor
    from pytest_inferena.worker.format import TensorSpec


def _given(a: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor, int]:
    """Self, index and src of the same size but for the dimension; what self has beyond has an index of -1."""
    x, index, dim = a["self"], a["index"], a["dim"]
    source = a.get("src", a.get("value"))
    if isinstance(source, int | float):
        source = x.full(index.shape, source)
    if not x.rank:
        x, index, source = (one.reshape(1) for one in (x, index, source))
    dim %= x.rank
    for at, length in enumerate(index.shape):
        source = source.slice(at, 0, length)
    for at, length in enumerate(x.shape):
        missing = 0 if at == dim else length - index.shape[at]
        index, source = index.pad(at, 0, missing, -1), source.pad(at, 0, missing)
    return x, index, source.to(x.dtype), dim


def _meant(x: Tensor, index: Tensor, dim: int) -> Tensor:
    """(…, numbers, places, …): which number of the source is meant for which place of the dimension."""
    places = x.constant(np.arange(x.shape[dim]).reshape(-1, *[1] * (x.rank - dim - 1)))
    return index.reshape(*index.shape[: dim + 1], 1, *index.shape[dim + 1 :]).compare("eq", places)


def scatter(a: Mapping[str, Any], out: tuple[TensorSpec, ...]) -> Tensor:
    """In place of what was there, or added to it, or times it."""
    if a.get("reduce") is not None:
        kind = {"add": "sum", "multiply": "prod"}[a["reduce"]]
        return scatter_reduce({**a, "reduce": kind, "include_self": True}, out)
    x, index, source, dim = _given(a)
    meant = _meant(x, index, dim)
    numbers = np.arange(1, index.shape[dim] + 1, dtype=np.float32).reshape(-1, *[1] * (x.rank - dim))
    last = (meant.to("float32") * x.constant(numbers)).reduce("amax", [dim], keepdim=False)  # 0: none
    place = (last.maximum(1.0) - 1.0).to("int64")
    found = source.make("gather", {"self": source, "dim": dim, "index": place}, x.shape)
    return last.compare("gt", 0.0).where(found, x).reshape(*out[0].shape)


def scatter_reduce(a: Mapping[str, Any], out: tuple[TensorSpec, ...]) -> Tensor:
    """The sum, the product, the mean or an extreme of all that is meant for a place, with or without what was there."""
    kind, keeps = a["reduce"], a.get("include_self", True)
    x, index, source, dim = _given(a)
    meant = _meant(x, index, dim)
    count = meant.to(x.dtype).reduce("sum", [dim], keepdim=False)
    several = source.reshape(*source.shape[: dim + 1], 1, *source.shape[dim + 1 :])
    none = count.compare("eq", 0)
    if kind in {"sum", "mean"}:
        total = meant.where(several, 0).reduce("sum", [dim], keepdim=False)
        total, count = (total + x, count + 1) if keeps else (total, count)
        if kind == "mean":
            count = count.maximum(1)
            whole = x.dtype.startswith("int")
            total = total.make("floor_divide", {"self": total, "other": count}, x.shape) if whole else total / count
        return (total if keeps else none.where(x, total)).reshape(*out[0].shape)
    if kind == "prod":
        found = along(meant.where(several, 1), dim).reshape(*x.shape)
        return (found * x if keeps else none.where(x, found)).reshape(*out[0].shape)
    if kind == "amin":
        several, x = -several, -x
    least = -(-several).reduce("amax", [dim])
    best = meant.where(several, least).reduce("amax", [dim], keepdim=False)
    best = none.where(x, best.maximum(x) if keeps else best)
    return (best if kind == "amax" else -best).reshape(*out[0].shape)


def masked_scatter(a: Mapping[str, Any], out: tuple[TensorSpec, ...]) -> Tensor:
    """The numbers of the source one after the other, where the mask says: how many places stand before says which."""
    x: Tensor = a["self"]
    mask: Tensor = a["mask"].expand(*out[0].shape).reshape(-1)
    source: Tensor = a["source"].reshape(-1)
    counted = mask.to("int64")
    place = counted.make("cumsum", {"self": counted, "dim": 0}, mask.shape) - 1
    place = mask.where(place, 0)
    found = source.make("gather", {"self": source, "dim": 0, "index": place}, mask.shape)
    return mask.where(found, x.expand(*out[0].shape).reshape(-1)).reshape(*out[0].shape)


SCATTER: Mapping[str, Rule] = {"masked_scatter": masked_scatter, "scatter": scatter, "scatter_reduce": scatter_reduce}
"""ATen's name → a function of the arguments by ATen's names, and of what the node makes."""
