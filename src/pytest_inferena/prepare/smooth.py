"""Smooth inputs in place of noise, which hides bugs: a picture, a chirp, a text that repeats itself."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from pytest_inferena.prepare.structure import replaced, tensors
from pytest_inferena.worker.format import Unsupported

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

LONG = 8
"""Places on an axis from which on there is room for a chirp or a text."""
STEPS = 64
"""Steps in a standard deviation, as bytes of a picture have: neighbours may be equal, and are so on every machine."""
TEXT = (0, 0, 1, 2)
"""Which of the first values stand where in a text, again and again: two in a row are equal."""


def smoothed(inputs: Mapping[str, Any], *, strict: bool = True) -> dict[str, Any]:
    """The same structure of inputs, the tensors in it smooth where they are a picture, a sound or a text.

    Raises:
        Unsupported: there is none; where it is not `strict`, all stay as they are.
    """
    found = tensors(inputs)
    made = {name: _smooth(x, torch.Generator().manual_seed(at)) for at, (name, x) in enumerate(found.items())}
    if strict and all(made[name] is x for name, x in found.items()):
        shown = ", ".join(f"{name} {tuple(x.shape)} {str(x.dtype).removeprefix('torch.')}" for name, x in found.items())
        raise Unsupported(
            f"--inferena-inputs=smooth would be the usual inputs: none of them ({shown}) is a picture, of rank 4 or "
            f"more, or a sound or a text of {LONG} places or more"
        )
    replacement: dict[str, Any] = replaced(dict(inputs), iter(made.values()))
    return replacement


def _smooth(x: Tensor, random: torch.Generator) -> Tensor:
    """What stands for a tensor; itself where it means something: a mask, a position, an index, a flag, a size."""
    is_real = x.is_floating_point()
    is_picture = x.ndim > 3 and (is_real or x.dtype == torch.uint8)
    if x.ndim == 0 or x.dtype == torch.bool or _is_index(x):
        return x
    if is_picture or (is_real and max(x.shape[1:] or x.shape) >= LONG):
        return _like(x, _wave(x.shape, random))
    if not is_real and x.ndim < 4 and x.shape[-1] >= LONG:
        return x[..., torch.tensor(TEXT).repeat(x.shape[-1])[: x.shape[-1]]]
    return x


def _is_index(x: Tensor) -> bool:
    """Whether a tensor has two values at most, or one that is no number, or is a row in order, or whole rows mixed."""
    values = x.unique()
    if len(values) < 3 or not torch.isfinite(values).all():
        return True
    if x.is_floating_point():
        return x.ndim < 4 and bool((values == values.round()).all())
    if x.ndim == 1:
        return bool((x.diff() >= 0).all())
    order, places = x.sort(dim=-1).values, torch.arange(x.shape[-1], dtype=x.dtype)
    return bool((order == places).all()) and not bool((x == places).all())


def _wave(shape: torch.Size, random: torch.Generator) -> Tensor:
    """Numbers from -1 to 1, in float64: a plane wave, another for each element of the batch and each channel.

    Up to rank 3 the longest axis is time, and the wave gets shorter along it, down to 8 places.
    """
    apart = 2 if len(shape) > 3 else min(len(shape) - 1, 1)
    axes = range(apart, len(shape))
    time = max(axes, key=shape.__getitem__) if len(shape) < 4 else -1
    drawn = torch.rand((*shape[:apart], 1 + len(axes)), generator=random, dtype=torch.float64)
    drawn = drawn.movedim(-1, 0).reshape(1 + len(axes), *shape[:apart], *[1] * len(axes))
    phase = drawn[0]
    for axis, rate in zip(axes, drawn[1:] + 0.5, strict=True):
        along = [-1 if axis == other else 1 for other in range(len(shape))]
        place = (torch.arange(shape[axis], dtype=torch.float64) / shape[axis]).reshape(along)
        phase = phase + rate * place + (shape[axis] / 16 * place**2 if axis == time else 0)
    return (2 * math.pi * phase).cos()


def _like(x: Tensor, wave: Tensor) -> Tensor:
    """A wave with the mean and the standard deviation of a tensor, and no number beyond its own."""
    deviation, mean = torch.std_mean(x.double(), correction=0)
    level, centre = torch.std_mean(wave, correction=0)
    found = mean + deviation * ((wave - centre) / level * STEPS).round() / STEPS
    found = found.clamp(x.min().double(), x.max().double())
    return (found if x.is_floating_point() else found.round()).to(x.dtype)
