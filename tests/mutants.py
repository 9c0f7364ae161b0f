"""How a model can be wrong, and how it can be computed otherwise and still be right: what panels are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytest_inferena.prepare.case import Case
from pytest_inferena.prepare.weights import seed_weights

Change = Callable[[Case], None]
Forward = Callable[..., Tensor]
Inputs = dict[str, Tensor]


@dataclass(frozen=True)
class Mutant:
    """A change to a case of its own, and how the gate may judge it at each of the entries."""

    name: str
    change: Change
    expected: tuple[str, ...] = ("fail",)
    entries: tuple[str, ...] = ("inference", "training")


def around(case: Case, change: Callable[[Forward, Inputs], Tensor]) -> None:
    """Lets `change(forward, inputs)` compute the output; parameters keep their names."""
    forward = case.module.forward
    case.module.forward = lambda **inputs: change(forward, inputs)


def outputs(change: Callable[[Tensor], Tensor]) -> Change:
    """The right output, changed."""
    return partial(around, change=lambda forward, inputs: change(forward(**inputs)))


def given(name: str, change: Callable[[Tensor], Tensor]) -> Change:
    """The right model of a changed input."""
    return partial(around, change=lambda forward, inputs: forward(**inputs | {name: change(inputs[name])}))


def function(name: str, other: Callable[..., Tensor], place: Any = F) -> Change:
    """While the model runs, `other(right, …)` computes what calls a function of PyTorch."""

    def change(forward: Forward, inputs: Inputs) -> Tensor:
        with patch.object(place, name, side_effect=partial(other, getattr(place, name))) as mock:
            output = forward(**inputs)
        assert mock.called
        return output

    return partial(around, change=change)


def parameters(change: Callable[[Tensor], Tensor]) -> Change:
    """Every parameter, changed."""

    def apply(case: Case) -> None:
        with torch.no_grad():
            for parameter in case.module.parameters():
                parameter.copy_(change(parameter))

    return apply


def parameter(name: str, change: Callable[[Tensor], Tensor]) -> Change:
    """One parameter, changed."""

    def apply(case: Case) -> None:
        own = case.module.get_parameter(name)
        with torch.no_grad():
            own.copy_(change(own).clone())

    return apply


def transposed(name: str) -> Change:
    """A matrix or kernel whose numbers were written with its first two dimensions the other way round."""
    return parameter(name, lambda weight: weight.transpose(0, 1).reshape(weight.shape))


def submodule(name: str, forward: Callable[..., Any]) -> Change:
    """One part of the module does something else."""

    def apply(case: Case) -> None:
        case.module.get_submodule(name).forward = forward

    return apply


def every(kind: str, **values: Any) -> Change:
    """Attributes of every part whose class has a name that begins so, such as `forward` or `eps`."""

    def apply(case: Case) -> None:
        found = [child for child in case.module.modules() if type(child).__name__.startswith(kind)]
        assert found
        for child in found:
            for name, value in values.items():
                assert hasattr(child, name)
                setattr(child, name, value)

    return apply


def forwards(module: nn.Module, kind: type[nn.Module], forward: Callable[..., Any]) -> None:
    """Lets `forward(child, x)` compute every child of one kind."""
    for child in module.modules():
        if isinstance(child, kind):
            child.forward = partial(forward, child)


def target(name: str, change: Callable[[Tensor], Tensor]) -> Change:
    """The loss to something else."""

    def apply(case: Case) -> None:
        case.targets[name] = change(case.targets[name])

    return apply


def summed_loss(case: Case) -> None:
    """A sum where the mean was asked for."""
    right = case.loss
    case.loss = lambda output, **targets: right(output, **targets) * output.numel()


def another_noise(like: Tensor) -> Tensor:
    """Normal numbers of another seed."""
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(1))


def spelled_out(_: Forward, q: Tensor, k: Tensor, v: Tensor, attn_mask: Any = None, **rest: Any) -> Tensor:
    """Attention (B, H, T, d) as matrix products and a softmax."""
    assert attn_mask is None
    k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], dim=1) for x in (k, v))
    scores = q @ k.transpose(2, 3) * (rest.get("scale") or q.shape[3] ** -0.5)  # (B, H, T, S)
    if rest.get("is_causal"):
        scores = scores.masked_fill(torch.ones(scores.shape[2:], dtype=torch.bool).triu(1), -torch.inf)
    return scores.softmax(dim=3) @ v


def unscaled(right: Forward, q: Tensor, k: Tensor, v: Tensor, **rest: Any) -> Tensor:
    """Attention whose scores are not divided by the root of the width of a head."""
    return right(q, k, v, **rest | {"scale": (rest.get("scale") or q.shape[3] ** -0.5) * q.shape[3] ** 0.5})


def interleaved_heads(right: Forward, q: Tensor, k: Tensor, v: Tensor, **rest: Any) -> Tensor:
    """Attention that takes every H-th channel for a head instead of d in a row."""

    def regroup(x: Tensor, width: int) -> Tensor:
        return x.transpose(1, 2).flatten(2).unflatten(2, (width, -1)).permute(0, 3, 1, 2)

    y = right(*(regroup(x, q.shape[3]) for x in (q, k, v)), **rest)  # (B, H, T, d)
    return y.permute(0, 2, 3, 1).flatten(2).unflatten(2, (q.shape[1], -1)).transpose(1, 2)


def tanh_gelu(x: Tensor) -> Tensor:
    """GELU's approximation, up to 5e-4 off."""
    return F.gelu(x, approximate="tanh")


def other_seed(case: Case) -> None:
    """Weights of another seed."""
    seed_weights(case.module, seed=1, inputs=case.inputs)


def _nan(output: Tensor) -> Tensor:
    return torch.where(torch.arange(output.shape[-1]) == 1, torch.nan, output)


def _in(dtype: torch.dtype) -> Change:
    def apply(case: Case) -> None:
        case.module.to(dtype)

        def compute(forward: Forward, inputs: Inputs) -> Tensor:
            cast = {name: t.to(dtype) if t.is_floating_point() else t for name, t in inputs.items()}
            return forward(**cast).float()

        around(case, compute)

    return apply


def _summed_in_halves(case: Case) -> None:
    """Sums over the odd, then over the even inputs of every matrix and kernel."""

    def linear(layer: nn.Linear, x: Tensor) -> Tensor:
        halves = [F.linear(x[..., i::2], layer.weight[:, i::2]) for i in (1, 0)]
        return halves[0] + halves[1] + (0 if layer.bias is None else layer.bias)

    def conv(right: Forward, layer: nn.Conv1d | nn.Conv2d, x: Tensor) -> Tensor:
        shape = {"stride": layer.stride, "padding": layer.padding}
        halves = [right(x[:, i::2], layer.weight[:, i::2], **shape) for i in (1, 0)]
        bias = 0 if layer.bias is None else layer.bias.view(-1, *[1] * (x.ndim - 2))
        return halves[0] + halves[1] + bias

    forwards(case.module, nn.Linear, linear)
    forwards(case.module, nn.Conv1d, partial(conv, F.conv1d))
    forwards(case.module, nn.Conv2d, partial(conv, F.conv2d))


def _other_thread_count(_: Case) -> None:
    torch.set_num_threads(2 if torch.get_num_threads() == 1 else 1)


COMMON = [
    Mutant("zeros", outputs(lambda output: output * 0)),
    Mutant("other_seed", other_seed),
    Mutant("nan", outputs(_nan)),
    Mutant("fp16_weights", parameters(lambda p: p.half().float()), ("close", "fail")),
    Mutant("bf16_weights", parameters(lambda p: p.bfloat16().float()), ("close", "fail"), ("inference",)),
    Mutant("bf16_weights", parameters(lambda p: p.bfloat16().float()), entries=("training",)),
    Mutant("summed_in_halves", _summed_in_halves, ("pass",)),
    Mutant("other_thread_count", _other_thread_count, ("pass",)),
    Mutant("double_precision", _in(torch.float64), ("pass",)),
]

LABELS = [Mutant("labels_off_by_one", target("labels", lambda labels: labels + 1), entries=("training",))]

ATTENTION = [
    Mutant("attention_unscaled", function("scaled_dot_product_attention", unscaled)),
    Mutant("heads_interleaved", function("scaled_dot_product_attention", interleaved_heads)),
    Mutant("attention_spelled_out", function("scaled_dot_product_attention", spelled_out), ("pass",)),
]

CHANNELS_LAST = [Mutant("channels_last", lambda case: case.module.to(memory_format=torch.channels_last), ("pass",))]


def slight(name: str, change: Change) -> list[Mutant]:
    """A change whose effect on the output is of the size of reduced precision, and on gradients is not."""
    return [
        Mutant(name, change, ("close", "fail"), ("inference",)),
        Mutant(name, change, entries=("training",)),
    ]


def squares(name: str) -> list[Mutant]:
    """What can go wrong with a squared error to the target of that name."""
    return [
        Mutant("loss_summed", summed_loss, entries=("training",)),
        Mutant("target_of_another_seed", target(name, another_noise), entries=("training",)),
        Mutant("target_zero", target(name, torch.zeros_like), entries=("training",)),
    ]


ALL_BF16 = [Mutant("all_bf16", _in(torch.bfloat16))]
NEARLY_BF16 = slight("all_bf16", _in(torch.bfloat16))
"""For models so shallow that the error of their outputs, 7e-3 to 1e-2, stays below what CLOSE allows."""
