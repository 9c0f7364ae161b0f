"""What rounding to float32 can do to a result: the module in float64, with noise on what every operator gives.

It tells two things that one run in float32 cannot. Integers: where the choice of an index, or the side of a threshold,
changes with the noise, float32 cannot decide, and neither choice is wrong. Real numbers: an error of PyTorch's float32
that is above what the noise does is no rounding but a fault of a kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from pytest_inferena.prepare.exact import Float64
from pytest_inferena.verdict.scale import denominators
from pytest_inferena.verdict.tensors import distance

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    Results = Mapping[str, Tensor | None]

NOISE = 2.0**-20
"""Sixteen roundings of float32 for each operator: some right engines sum in ways that are this far off."""
RUNS = 16
FAR = 1e-3
"""The NRMSE of PyTorch float32 that asks for a second opinion."""
SUMS = frozenset({
    "__matmul__", "__rmatmul__", "addbmm", "addmm", "addmv", "baddbmm", "bilinear", "bmm", "cumsum", "dot", "einsum",
    "grid_sample", "inner", "interpolate", "linear", "logsumexp", "matmul", "mean", "mm", "mv", "norm",
    "scaled_dot_product_attention", "std", "sum", "tensordot", "var", "vecdot",
})  # fmt: skip
"""They add up terms that may cancel, so that their error follows their terms and not their result."""
UNORDERED = frozenset({"argsort", "kthvalue", "median", "mode", "sort", "topk"})
"""What they do with equals is not defined."""


class Rounding(Float64):
    """Every value that float32 cannot hold is off by a random error; what it holds exactly stays as it is."""

    def __init__(self, run: int, noise: float = NOISE) -> None:
        super().__init__()
        self.run, self.noise = run, noise
        self.generator = torch.Generator().manual_seed(run)

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[Any],
        args: Any = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Also mix equals before they are put in order."""
        name = getattr(function, "__name__", "").split(".")[0]
        unordered = name in UNORDERED and not (kwargs or {}).get("stable")
        if unordered and args and isinstance(args[0], torch.Tensor) and args[0].is_floating_point():
            args = (self._mixed(self.wide(args[0])), *args[1:])
        return super().__torch_function__(function, types, args, kwargs)

    def rounded(self, name: str, args: Sequence[Any], result: Any) -> Any:
        """The result with its error. Views, and what was written in place, have theirs already."""
        if isinstance(result, tuple | list) and name not in {"split", "chunk", "unbind", "tensor_split"}:
            parts = [self.rounded(name, args, part) for part in result]
            return type(result)(parts)
        if not isinstance(result, torch.Tensor) or not result.is_floating_point() or name.startswith("__get"):
            return result
        storages = {arg.untyped_storage().data_ptr() for arg in args if isinstance(arg, torch.Tensor)}
        if result.untyped_storage().data_ptr() in storages:
            return result
        sums = name in SUMS or name.startswith("conv") or name.endswith("_norm")
        values = result.detach()
        size = values.abs().clamp(min=_rms(values)) if sums else values
        inexact = (values.float() != values) & values.isfinite()
        return result + torch.where(inexact, size * self._random(values.shape), 0)

    def _random(self, shape: Sequence[int]) -> Tensor:
        return self.noise * torch.randn(shape, generator=self.generator, dtype=torch.float64)

    def _mixed(self, values: Tensor) -> Tensor:
        """Values whose equals differ: the first is the largest in the first run, the last in the second."""
        if self.run > 1:
            shift = self._random(values.shape)
        else:
            ramp = torch.linspace(0, self.noise, values.numel(), dtype=torch.float64).reshape(values.shape)
            shift = ramp if self.run else -ramp
        return (
            values + shift * values[values.isfinite()].abs().max().clamp(min=1) if values.isfinite().any() else values
        )


def second_opinion(errors: dict[str, float], right: Results, rounded: Callable[[int], Results]) -> list[str]:
    """Whether rounding explains how far float32 lies from float64, where that is far.

    Args:
        errors: NRMSE of float32, by tensor. What rounding does not explain is taken down to what it does.
        right: the results in float64.
        rounded: makes them with other errors of rounding each time.

    Returns:
        A sentence, where float32 is off for another reason: a kernel of PyTorch is at fault.
    """
    far = [name for name, error in errors.items() if error > FAR]
    if not far:
        return []
    moved: dict[str, float] = dict.fromkeys(errors, 0.0)
    for results in map(rounded, range(2)):
        rms, rmse = {}, {}
        for name in errors:
            one, other = right[name], results[name]
            assert one is not None and other is not None  # noqa: S101, PT018 - they have an error
            gap = distance(one.detach().numpy(), other.detach().numpy())
            rms[name], rmse[name] = gap.rms, gap.rmse
        moved = {name: max(moved[name], rmse[name] / scale) for name, scale in denominators(rms).items()}
    unexplained = [name for name in far if errors[name] > moved[name]]
    texts = [f"{name} by {errors[name]:.1e}, where rounding moves it by {moved[name]:.1e}" for name in unexplained]
    errors |= {name: moved[name] for name in unexplained}
    return [f"a kernel of PyTorch is at fault: float32 leaves float64 in {', '.join(texts)}"] if texts else []


def ties(others: Sequence[Results], right: Results) -> dict[str, list[list[int]]]:
    """Of every integer or boolean tensor the elements that float32 cannot decide.

    Returns:
        name → pairs of a flat index and a value that is as right as golden's, where there are any.
    """
    found = {}
    for name, value in right.items():
        if value is None or value.is_floating_point() or value.is_complex():
            continue
        pairs: set[tuple[int, int]] = set()
        flat = value.reshape(-1)
        for other in others:
            if (given := other.get(name)) is None or given.shape != value.shape:
                continue
            at = (given.reshape(-1) != flat).nonzero()[:, 0]
            pairs |= set(zip(at.tolist(), map(int, given.reshape(-1)[at].tolist()), strict=True))
        if pairs:
            found[name] = [list(pair) for pair in sorted(pairs)]
    return found


def _rms(values: Tensor) -> Tensor:
    return values[values.isfinite()].square().mean().sqrt().nan_to_num()
