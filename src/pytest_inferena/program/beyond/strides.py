"""Operators beyond the closed set that look at memory as they like: windows which overlap, and their sums."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_inferena.program.expand.tensor import Tensor, cat

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_inferena.program.beyond.functions import Rule
    from pytest_inferena.worker.format import TensorSpec

MOST = 64
"""How many pieces a window is put together of; of more it is looked up number by number."""


def windows(x: Tensor, count: int, size: int, step: int) -> Tensor:
    """(…, length) to (…, count, size): blocks as long as the step, put together."""
    pieces = -(-size // step)
    length, last = (count + pieces - 1) * step, x.rank - 1
    x = x.slice(last, 0, min(length, x.shape[last]))
    x = x.pad(last, 0, length - x.shape[last])
    blocks = x.reshape(*x.shape[:-1], -1, step)
    return cat([blocks.slice(last, at, at + count) for at in range(pieces)], last + 1).slice(last + 1, 0, size)


def as_strided(a: Mapping[str, Any], out: tuple[TensorSpec, ...]) -> Tensor:
    """Of a tensor that lies row by row: the first dimensions stay where they are the same, the rest are windows."""
    x: Tensor = a["self"]
    size, stride, offset = a["size"], a["stride"], a.get("storage_offset") or 0
    lead = 0 if offset else _in_common(x.shape, size, stride)
    flat = x.reshape(*x.shape[:lead], -1)
    last = lead
    inner = [*zip(size[lead:], stride[lead:], strict=True)]
    if len(inner) == 2 and inner[1][1] == 1 and inner[0][1] > 0 and inner[1][0] <= MOST * inner[0][1]:
        (count, step), (width, _) = inner
        return windows(flat.slice(last, offset, flat.shape[last]), count, width, step)
    places = np.full((), offset)
    for count, step in inner:
        places = np.add.outer(places, np.arange(count) * step)
    rows = flat.constant(places.reshape(-1))
    index = {"self": flat, "dim": last, "index": rows}
    return flat.make("index_select", index, (*flat.shape[:lead], places.size)).reshape(*out[0].shape)


def _in_common(shape: Sequence[int], size: Sequence[int], stride: Sequence[int]) -> int:
    """How many of the first dimensions are those that there were, and each window lies within one of their rows."""
    for lead in range(min(len(shape), len(size)) - 1, 0, -1):
        rows = [math.prod(shape[at + 1 :]) for at in range(lead)]
        reach = sum((count - 1) * step for count, step in zip(size[lead:], stride[lead:], strict=True))
        if [*size[:lead]] == [*shape[:lead]] and [*stride[:lead]] == rows and reach < rows[-1]:
            return lead
    return 0


def overlapped(a: Mapping[str, Any], out: tuple[TensorSpec, ...]) -> Tensor:
    """`unfold_backward`: windows laid over each other and added up, block by block."""
    grad: Tensor = a["grad_in"]
    dim, size, step = a["dim"] % len(out[0].shape), a["size"], a["step"]
    order = [at for at in range(grad.rank - 1) if at != dim]
    grad = grad.permute(*order, dim, grad.rank - 1)  # (…, count, size)
    axis, pieces = grad.rank - 2, -(-size // step)
    blocks = grad.pad(axis + 1, 0, pieces * step - size)
    parts = [blocks.slice(axis + 1, at * step, (at + 1) * step).pad(axis, at, pieces - 1 - at) for at in range(pieces)]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    flat, length = total.reshape(*total.shape[:-2], -1), out[0].shape[dim]
    flat = flat.slice(axis, 0, min(length, flat.shape[axis]))
    flat = flat.pad(axis, 0, length - flat.shape[axis])
    return flat.permute(*(axis if at == dim else order.index(at) for at in range(flat.rank)))


STRIDES: Mapping[str, Rule] = {"as_strided": as_strided, "unfold_backward": overlapped}
"""ATen's name → a function of the arguments by ATen's names, and of what the node makes."""
