"""Wrong models that the gate has to refuse, and equal ones that it has to let pass.

A model joins the panel with one entry of PANEL: COMMON, and what can go wrong with its own operators.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytest_inferena.model import Case
from pytest_inferena.weights import seed_weights

Change = Callable[[Case], None]


@dataclass(frozen=True)
class Mutant:
    """A change to a case of its own, and how the gate may judge it at each of the entries."""

    name: str
    change: Change
    expected: tuple[str, ...] = ("fail",)
    entries: tuple[str, ...] = ("inference", "training")


def _around(case: Case, change: Callable[[Callable[..., Tensor], dict[str, Tensor]], Tensor]) -> None:
    """Lets `change(forward, inputs)` compute the output; parameters keep their names."""
    forward = case.module.forward
    case.module.forward = lambda **inputs: change(forward, inputs)


def _outputs(change: Callable[[Tensor], Tensor]) -> Change:
    return partial(_around, change=lambda forward, inputs: change(forward(**inputs)))


def _parameters(change: Callable[[Tensor], Tensor]) -> Change:
    def apply(case: Case) -> None:
        with torch.no_grad():
            for parameter in case.module.parameters():
                parameter.copy_(change(parameter))

    return apply


def _forwards(module: nn.Module, kind: type[nn.Module], forward: Callable[..., Any]) -> None:
    """Lets `forward(child, x)` compute every child of one kind."""
    for child in module.modules():
        if isinstance(child, kind):
            child.forward = partial(forward, child)


def _other_seed(case: Case) -> None:
    seed_weights(case.module, seed=1, inputs=case.inputs)


def _nan(output: Tensor) -> Tensor:
    return torch.where(torch.arange(output.shape[-1]) == 1, torch.nan, output)


_float16_weights = _parameters(lambda parameter: parameter.half().float())
_bfloat16_weights = _parameters(lambda parameter: parameter.bfloat16().float())


def _all_bfloat16(case: Case) -> None:
    case.module.bfloat16()

    def compute(forward: Callable[..., Tensor], inputs: dict[str, Tensor]) -> Tensor:
        low = {name: t.bfloat16() if t.is_floating_point() else t for name, t in inputs.items()}
        return forward(**low).float()

    _around(case, compute)


def _labels_off_by_one(case: Case) -> None:
    case.targets["labels"] = case.targets["labels"] + 1


def _transposed(name: str) -> Change:
    def apply(case: Case) -> None:
        weight = case.module.get_parameter(name)
        with torch.no_grad():
            weight.copy_(weight.transpose(0, 1).clone())

    return apply


def _activation(name: str, other: Callable[[Tensor], Tensor]) -> Change:
    """Replaces every activation of one name: "SiLU" also finds Hugging Face's SiLUActivation."""

    def apply(case: Case) -> None:
        found = [child for child in case.module.modules() if type(child).__name__.startswith(name)]
        assert found
        for child in found:
            child.forward = other

    return apply


def _summed_in_halves(case: Case) -> None:
    """Sums over the odd, then over the even inputs of every matrix and kernel."""

    def linear(layer: nn.Linear, x: Tensor) -> Tensor:
        halves = [F.linear(x[..., i::2], layer.weight[:, i::2]) for i in (1, 0)]
        return halves[0] + halves[1] + (0 if layer.bias is None else layer.bias)

    def conv2d(layer: nn.Conv2d, x: Tensor) -> Tensor:
        shape = {"stride": layer.stride, "padding": layer.padding}
        halves = [F.conv2d(x[:, i::2], layer.weight[:, i::2], **shape) for i in (1, 0)]
        return halves[0] + halves[1] + (0 if layer.bias is None else layer.bias[:, None, None])

    _forwards(case.module, nn.Linear, linear)
    _forwards(case.module, nn.Conv2d, conv2d)


def _one_thread(_: Case) -> None:
    torch.set_num_threads(1)


def _rope_base(case: Case) -> None:
    frequencies = case.module.model.rotary_emb.inv_freq
    frequencies.copy_(frequencies**0.8)  # from base 1e5 to base 1e4


def _unpermuted(case: Case) -> None:
    config = case.module.config
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    with torch.no_grad():
        for layer in case.module.model.layers:
            for name, count in heads.items():
                weight = layer.self_attn.get_submodule(name).weight
                rows, width = weight.shape
                pairs = weight.reshape(count, 2, rows // count // 2, width).swapaxes(1, 2)
                weight.copy_(pairs.reshape(rows, width).clone())


def _no_causal_mask(case: Case) -> None:
    for layer in case.module.model.layers:
        layer.self_attn.is_causal = False


def _last_position_only(case: Case) -> None:
    _around(case, lambda forward, inputs: forward(**inputs)[:, -1:])
    case.targets["labels"] = case.targets["labels"][:, -1:]


def _no_decoder_layer(case: Case) -> None:
    case.module.model.layers[1].forward = lambda hidden_states, **_: hidden_states


def _no_attention(case: Case) -> None:
    for layer in case.module.model.layers:
        layer.self_attn.forward = lambda hidden_states, **_: (torch.zeros_like(hidden_states), None)


def _no_batch_norm(case: Case) -> None:
    _forwards(case.module, nn.BatchNorm2d, lambda _, x: x)


def _no_residual_block(case: Case) -> None:
    case.module.resnet.encoder.stages[0].layers[1].forward = lambda hidden_state: hidden_state


COMMON = [
    Mutant("zeros", _outputs(lambda output: output * 0)),
    Mutant("other_seed", _other_seed),
    Mutant("nan", _outputs(_nan)),
    Mutant("fp16_weights", _float16_weights, ("close", "fail")),
    Mutant("bf16_weights", _bfloat16_weights, ("close", "fail"), ("inference",)),
    Mutant("bf16_weights", _bfloat16_weights, entries=("training",)),
    Mutant("all_bf16", _all_bfloat16),
    Mutant("labels_off_by_one", _labels_off_by_one, entries=("training",)),
    Mutant("summed_in_halves", _summed_in_halves, ("pass",)),
    Mutant("one_thread", _one_thread, ("pass",)),
]

PANEL = {
    "smollm2": [
        *COMMON,
        Mutant("rope_base_1e4", _rope_base),
        Mutant("unpermuted_qk", _unpermuted),
        Mutant("no_causal_mask", _no_causal_mask),
        Mutant("last_position_only", _last_position_only),
        Mutant("one_layer_dropped", _no_decoder_layer),
        Mutant("attention_off", _no_attention),
        Mutant("transposed_weight", _transposed("model.layers.0.self_attn.q_proj.weight")),
        Mutant("gelu_for_silu", _activation("SiLU", F.gelu)),
    ],
    "resnet50": [
        *COMMON,
        Mutant("batch_norm_skipped", _no_batch_norm),
        Mutant("one_block_dropped", _no_residual_block),
        Mutant("transposed_weight", _transposed("resnet.encoder.stages.0.layers.0.layer.0.convolution.weight")),
        Mutant("gelu_for_relu", _activation("ReLU", F.gelu)),
    ],
}
