"""What PyTorch computes of a piece: in float64, which is right, and in float32, which is what may be expected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pytest_inferena.worker.aten import SPELLED, to_module

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_inferena.explain.pieces import Piece
    from pytest_inferena.verdict.tensors import Array


def _exactly(dtype: str) -> torch.dtype:
    named: torch.dtype = getattr(torch, dtype)
    return torch.float64 if named.is_floating_point else named


EXACT: Mapping[str, Callable[..., Any]] = {
    **SPELLED,
    "full": lambda size, value, dtype: torch.full(size, value, dtype=_exactly(dtype)),
    "to": lambda x, dtype: x.to(_exactly(dtype)),
}
"""The operators that name a dtype, in float64 whichever float they name."""


def computed(piece: Piece, dtype: torch.dtype) -> dict[str, Array]:
    """The outputs of a piece by name, or `loss` and `grad:PARAMETER` where it trains; floats in `dtype`."""
    entry = piece.entry
    parameters = {}
    for name in entry.parameters:
        tensor = torch.from_numpy(np.array(piece.weights[name]))
        trains = entry.trains and name in piece.trainable and tensor.is_floating_point()
        parameters[name] = torch.nn.Parameter(_as(tensor, dtype), requires_grad=trains)
    module = to_module(entry, parameters, EXACT if dtype == torch.float64 else SPELLED)
    for name, buffer in list(module.named_buffers()):
        setattr(module, name, _as(buffer, dtype))
    arrays = entry.arrays("inputs")
    inputs = [_as(torch.from_numpy(np.array(arrays[spec.name])), dtype) for spec in entry.inputs]
    with torch.set_grad_enabled(entry.trains):
        results = dict(zip(entry.outputs, module(*inputs), strict=True))
    if entry.trains:
        trained = {name: value for name, value in parameters.items() if value.requires_grad}
        found = torch.autograd.grad(results["loss"], list(trained.values()), allow_unused=True)
        results |= {f"grad:{name}": one for name, one in zip(trained, found, strict=True) if one is not None}
    return {name: value.detach().contiguous().numpy() for name, value in results.items()}


def _as(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor
