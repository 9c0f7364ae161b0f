"""Seeded weights adjusted to what reaches each layer: its scale, batch norm's statistics, distance from ReLU's kink.

Everything is computed in float64 and rounded, so that it is the same on every machine.
"""

from __future__ import annotations

import contextlib
import copy
import math
import re
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_map

from pytest_inferena.prepare.structure import called

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch import Tensor

FARTHEST = 4.0
"""By which factor the size of a layer's activations may differ from 1 before its weights are scaled."""
LEAST_SHARE = 1e-3
"""Of the variance of a whole layer, that which a channel has at least, in the statistics of batch norm."""
LEAST_APART = 1.0
"""The same where noise did not fit: differences between inputs that a network sees as alike must not grow."""
KINK_WINDOW = 0.1  # how far a ReLU's input may be shifted, in standard deviations
RESIDUAL = re.compile(
    r"(^|\.)(o_proj|out_proj|down_proj|fc2|to_out\.0|net\.2|c_proj|layer\.2\.normalization|bn3"
    r"|\w*resnets?(\.\d+)?\.conv2|attentions\.\d+\.proj_out)\.weight$"
)
"""The last module of a residual branch (a matrix, a kernel or a batch norm), as published checkpoints name it."""


def sizes(module: nn.Module, inputs: Mapping[str, Any]) -> dict[str, float]:
    """The size of what every layer makes, in order of execution; empty if the module's forward fails."""
    found: dict[str, float] = {}
    try:
        with torch.no_grad(), measuring(module, found):
            called(module, inputs)
    except Exception:  # noqa: BLE001 - a model's code may raise anything; who captures it says what is wrong
        return {}
    return found


@contextlib.contextmanager
def measuring(module: nn.Module, found: dict[str, float]) -> Iterator[None]:
    """While it lasts, put the size of what every layer makes into `found`, of what it makes first."""

    def measure(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, __: Any, result: Any) -> None:
            if name not in found:
                found[name] = size_of(result)

        return hook

    handles = [layer.register_forward_hook(measure(name)) for name, layer in layers(module)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def uneven(module: nn.Module, found: Mapping[str, float], most: float = FARTHEST) -> dict[str, float]:
    """The layers farther from unit size than weights are to keep them, by what `sizes` found."""
    small = {name: _may_be_small(name, layer) for name, layer in layers(module) if _has_matrix(layer)}
    return {
        n: size for n, size in found.items() if n in small and not (size <= most and (small[n] or size >= 1 / most))
    }


def is_even(module: nn.Module, found: Mapping[str, float]) -> bool:
    """Whether no layer needs calibration, by what `sizes` found in float32; a layer that may is computed exactly."""
    return not uneven(module, found, FARTHEST * (1 - 1e-3))


def _has_matrix(layer: nn.Module) -> bool:
    """What has none scales numbers that are scaled already."""
    return any(parameter.ndim > 1 for parameter in layer.parameters())


def _may_be_small(name: str, layer: nn.Module) -> bool:
    return isinstance(layer, nn.Embedding | nn.EmbeddingBag) or RESIDUAL.search(f"{name}.weight") is not None


def calibrate(module: nn.Module, inputs: Mapping[str, Any], *, apart: bool = False) -> None:
    """Bring every layer's activations near to unit size, layer by layer in order of execution.

    Where a layer makes numbers more than `FARTHEST` times too large or too small, its weights are multiplied by a power
    of two, which rounds nothing. A layer that ends a residual branch, and an embedding, may make small numbers: what
    stands behind them is meant for that. Batch norm gets the mean and the variance of what reaches it.

    Args:
        module: in eval mode. If its forward fails, nothing is changed: who captures it says what is wrong.
        inputs: by argument name.
        apart: batch norm's statistics are a tenth of a standard deviation off, because the inputs are no noise.
    """
    observed: dict[_BatchNorm, float] = {}

    def observe(layer: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, _BatchNorm)  # noqa: S101 - hooked to nothing else
        observed[layer] = _observe(layer, arguments[0], LEAST_APART if apart else LEAST_SHARE)
        if apart:
            observed[layer] = 1.0
            sign = 1 - 2 * (torch.arange(len(layer.running_mean)) % 2)  # by turns, and so the same everywhere
            layer.running_mean += 0.1 * sign * layer.running_var.sqrt()
            layer.running_var *= 1 - 0.1 * sign

    def hooked(exact: nn.Module) -> nn.Module:
        for name, layer in layers(exact):
            if isinstance(layer, _BatchNorm):
                if layer.running_var is not None:
                    layer.register_forward_pre_hook(observe)
            elif _has_matrix(layer):
                rescale = _Rescale(may_be_small=_may_be_small(name, layer))
                layer.register_forward_hook(rescale, with_kwargs=True)
        return exact

    exact = _run(module, inputs, hooked)
    for layer, correction in observed.items():
        layer.running_var *= correction
        layer.num_batches_tracked.fill_(1)
    _take(module, exact)


def _run(module: nn.Module, inputs: Mapping[str, Any], hooked: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """A copy with hooks, run in float64; in float32 if the module's own code insists on it."""
    for dtype in (torch.float64, torch.float32):
        exact = hooked(copy.deepcopy(module).to(dtype))
        try:
            called(exact, _cast(inputs, dtype))
        except Exception:  # noqa: BLE001, S112 - a model's code may raise anything
            continue
        return exact
    return module


def layers(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The modules, by name, that have parameters or statistics of their own and no modules inside."""
    for name, child in module.named_modules():
        if not any(True for _ in child.children()) and [*child.parameters(), *child.buffers()]:
            yield name, child


def size_of(values: Any) -> float:
    """The root of the mean square of a layer's first result; zero where that is no tensor of numbers."""
    while isinstance(values, tuple | list) and values:
        values = values[0]
    if not isinstance(values, torch.Tensor) or not values.is_floating_point() or not values.numel():
        return 0.0
    return float(values.detach().square().mean().sqrt())


class _Rescale:
    """A hook that scales a layer once, if that helps, and hands on what it then makes."""

    def __init__(self, *, may_be_small: bool) -> None:
        self.may_be_small, self.done = may_be_small, False

    def __call__(self, layer: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any], result: Any) -> Any:
        size = size_of(result)
        done, self.done = self.done, True
        if done or not 0 < size < math.inf:
            return None
        if size <= FARTHEST and (self.may_be_small or size >= 1 / FARTHEST):
            return None
        factor = 2.0 ** -round(math.log2(size))
        parameters = list(layer.parameters())
        for parameter in parameters:
            parameter.mul_(factor)
        scaled = layer.forward(*arguments, **keywords)
        if 1 / FARTHEST <= size_of(scaled) <= FARTHEST:
            return scaled
        for parameter in parameters:
            parameter.div_(factor)
        return None


def _observe(layer: _BatchNorm, x: Tensor, least: float) -> float:
    """Give batch norm the mean and variance of what reaches it; by what to multiply the variance afterwards.

    A channel that hardly varies, or of which there is one value, has no variance of its own to speak of: it gets a
    share of the whole layer's. One value is no mean either: it gets that of all channels.
    """
    rows = x.transpose(0, 1).flatten(1)  # (C, N)
    whole, count = rows.var(correction=0), rows.shape[1]
    source = rows if count > 1 else rows.T
    variance = source.var(1, correction=0).clamp(min=float(whole) * least)
    layer.running_mean = source.mean(1).expand(len(rows)).clone()
    layer.running_var = torch.where(variance > 0, variance, 1.0).expand(len(rows)).clone()
    return float(count / max(count - 1, 1))


def leave_kinks(module: nn.Module, inputs: Mapping[str, Tensor]) -> None:
    """Move the biases of batch norms so that zero lies in the middle of the widest gap between a ReLU's inputs."""
    last: list[nn.Module] = []  # the one with parameters that ran last, the one before a ReLU

    def remember(child: nn.Module, *_: object) -> None:
        last[:] = [child]

    def move(_: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if not last or not isinstance(last[0], _BatchNorm) or last[0].bias is None:
            return arguments
        bias, (x,) = last[0].bias, arguments  # (C,), (B, C, …)
        moved = (bias - _widest_gaps(x.transpose(0, 1).flatten(1))).float().double()
        shifted = x + (moved - bias).view(-1, *[1] * (x.ndim - 2))
        bias.copy_(moved)
        return (shifted,)

    def hooked(exact: nn.Module) -> nn.Module:
        for child in exact.modules():
            if isinstance(child, nn.ReLU):
                child.register_forward_pre_hook(move)
            elif not list(child.children()) and list(child.parameters()):
                child.register_forward_hook(remember)
        return exact

    _take(module, _run(module, inputs, hooked))


def _widest_gaps(values: Tensor) -> Tensor:
    """The centre (C,) of the widest gap between values near zero, in each row (C, N)."""
    values = values.float()  # half the time and memory, and a gap is far wider than its rounding
    edge = KINK_WINDOW * values.std(dim=1, keepdim=True).nan_to_num()  # (C, 1); one value has no spread
    edges = torch.maximum(torch.minimum(values, edge), -edge)
    ordered = torch.cat([-edge, edges, edge], dim=1).sort(dim=1).values  # (C, N + 2)
    widest = ordered.diff(dim=1).argmax(dim=1, keepdim=True)  # (C, 1)
    return (ordered.gather(1, widest) + ordered.gather(1, widest + 1)).squeeze(1).double() / 2


def _cast(inputs: Mapping[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    def cast(value: Any) -> Any:
        return value.to(dtype) if isinstance(value, torch.Tensor) and value.is_floating_point() else value

    return {name: tree_map(cast, value) for name, value in inputs.items()}


def _take(module: nn.Module, exact: nn.Module) -> None:
    """Copy what a calibrated module has."""
    for kind in ("parameters", "buffers"):
        for ours, theirs in zip(getattr(module, kind)(), getattr(exact, kind)(), strict=True):
            ours.copy_(theirs)
