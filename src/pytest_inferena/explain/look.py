"""One look: a piece on the engine beside PyTorch's float32, both against float64."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from pytest_inferena.cell import Outcome
from pytest_inferena.explain.reference import computed
from pytest_inferena.processes.client import WorkerFailed
from pytest_inferena.verdict.scale import denominators
from pytest_inferena.verdict.tensors import distance

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_inferena.explain.engine import Engine
    from pytest_inferena.explain.pieces import Piece
    from pytest_inferena.verdict.tensors import Array


@dataclass(frozen=True)
class Seen:
    """The tensor of a piece that is worst, by NRMSE."""

    error: float = math.inf
    reference: float = 0.0
    """That of PyTorch's float32 on the same inputs."""
    size: int = 0
    tensor: str = ""
    broke: str = ""
    """How the engine ended instead of computing it."""
    given: Mapping[str, Array] = field(default_factory=dict, repr=False, compare=False)
    """All that the engine computed."""
    exact: Mapping[str, Array] = field(default_factory=dict, repr=False, compare=False)

    def excess(self, bar: float) -> float:
        """The error by what is allowed: as many times PyTorch's as the gate allows, or `bar`."""
        return math.inf if self.broke else self.error / max(multiple(self.size) * self.reference, bar)

    def __str__(self) -> str:
        return self.broke or f"{self.error:.1e}, PyTorch float32 {self.reference:.1e}"


def multiple(size: int) -> int:
    """How many times PyTorch's own error a tensor of so many elements may have, as in the gate."""
    return 10 if size < 10 else 3 if size < 1000 else 2


def look(piece: Piece, engine: Engine) -> Seen:
    """Compute a piece in three ways.

    Raises:
        WorkerFailed: the engine does not have what the piece needs.
    """
    exact = computed(piece, torch.float64)
    try:
        given = engine.run(piece)
    except WorkerFailed as failure:
        if failure.outcome is Outcome.UNSUPPORTED:
            raise
        return Seen(broke=f"{failure.outcome}: {failure}", exact=exact)
    return compare(exact, computed(piece, torch.float32), given)


def compare(exact: Mapping[str, Array], plain: Mapping[str, Array], given: Mapping[str, Array]) -> Seen:
    """The worst tensor; where there are gradients the loss, made for them, does not count."""
    names = [name for name in exact if name.startswith("grad:")] or list(exact)
    gaps = {name: distance(*_finite(exact[name], given.get(name))) for name in names}
    usual = {name: distance(*_finite(exact[name], plain[name])) for name in names}
    scales = denominators({name: gap.rms for name, gap in gaps.items()})
    seen = [
        Seen(gaps[name].rmse / scales[name], usual[name].rmse / scales[name], exact[name].size, name) for name in names
    ]
    worst = max(seen, key=lambda one: one.excess(1e-9))
    return Seen(worst.error, worst.reference, worst.size, worst.tensor, given=given, exact=exact)


def _finite(exact: Array, other: Array | None) -> tuple[Array, Array]:
    """Both where float32 can hold what is exact; elsewhere they count only where they differ."""
    if other is None or other.shape != exact.shape:
        return exact, np.full(exact.shape, np.nan)
    with np.errstate(over="ignore"):
        single = exact.astype(np.float32)
    odd = ~np.isfinite(single)
    if not odd.any():
        return exact, other
    same = np.array_equal(single[odd], other[odd].astype(np.float32), equal_nan=True)
    return np.where(odd, 0, exact), np.where(odd, 0 if same else np.nan, other)
