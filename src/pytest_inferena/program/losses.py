"""The rule for cross entropy, of whatever shapes: engines know it of rows alone, with a class number for each."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_inferena.program.expand.tensor import Tensor, tensors
from pytest_inferena.worker.format import Ref

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_inferena.program.graph import Arguments, Graph, Rule
    from pytest_inferena.worker.format import TensorSpec

    Outputs = tuple[TensorSpec, ...]


def _cross_entropy(g: Graph, a: Arguments, out: Outputs) -> Ref:
    """Images are rows with the classes last; where the target is a share of each class, it is a sum over them."""
    shape, labels = g.shape(a["self"]), g.shape(a["target"])
    if (len(shape), len(labels)) == (2, 1):
        return g.emit("cross_entropy_loss", a, out[0])
    given = {name: tensors(g, out[0], value) for name, value in a.items()}
    return Ref((_of_shares if shape == labels else _of_rows)(given, out[0]).name)


def _of_rows(a: Arguments, out: TensorSpec) -> Tensor:
    """(B, classes, …) or (classes,) as (N, classes)."""
    x: Tensor = a["self"]
    axis = min(1, x.rank - 1)
    x = x.permute(*(at for at in range(x.rank) if at != axis), axis).reshape(-1, x.shape[axis])
    rows = {**a, "self": x, "target": a["target"].reshape(x.shape[0])}
    losses = x.make("cross_entropy_loss", rows, () if a["reduction"] else (x.shape[0],))
    return losses.reshape(*out.shape)


def _of_shares(a: Arguments, out: TensorSpec) -> Tensor:
    """The mean is over rows, whatever the classes weigh."""
    x: Tensor = a["self"]
    axis, smoothing = min(1, x.rank - 1), a["label_smoothing"]
    logs = x.make("log_softmax", {"self": x, "dim": axis}, x.shape)
    shares: Tensor = a["target"].to(x.dtype)
    if smoothing:
        shares = shares * (1 - smoothing) + smoothing / x.shape[axis]
    if a["weight"] is not None:
        shares = shares * a["weight"].reshape(-1, *[1] * (x.rank - axis - 1))
    losses = -(logs * shares).reduce("sum", [axis], keepdim=False)
    if not a["reduction"]:
        return losses
    total = losses.reduce("sum", [*range(losses.rank)], keepdim=False) if losses.rank else losses
    return total * (1 / math.prod(losses.shape)) if a["reduction"] == 1 else total.reshape(*out.shape)


RULES: Mapping[str, Rule] = {"cross_entropy_loss": _cross_entropy}
