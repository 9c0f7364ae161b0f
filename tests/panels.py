"""Wrong models that the gate has to refuse, and equal ones that it has to let pass.

A model joins with one entry of PANEL: COMMON, and what can go wrong with its own operators.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from tests.mutants import (
    ALL_BF16,
    ATTENTION,
    CHANNELS_LAST,
    COMMON,
    LABELS,
    NEARLY_BF16,
    Change,
    Forward,
    Mutant,
    another_noise,
    around,
    every,
    function,
    given,
    outputs,
    parameter,
    slight,
    squares,
    submodule,
    tanh_gelu,
    transposed,
)  # fmt: skip
from torch import Tensor, nn

if TYPE_CHECKING:
    from pytest_inferena.prepare.case import Case

CLOSE = ("close",)  # its error, at most 5e-4, is less than that of fp16


# SmolLM2


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


def _last_position_only(case: Case) -> None:
    around(case, lambda forward, inputs: forward(**inputs)[:, -1:])
    case.targets["labels"] = case.targets["labels"][:, -1:]


def _nothing_attended(hidden_states: Tensor, **_: Any) -> tuple[Tensor, None]:
    return torch.zeros_like(hidden_states), None


def _same(x: Tensor, *_: Any, **__: Any) -> Tensor:
    return x


SMOLLM2 = [
    Mutant("rope_base_1e4", _rope_base),
    Mutant("unpermuted_qk", _unpermuted),
    Mutant("no_causal_mask", every("LlamaAttention", is_causal=False)),
    Mutant("last_position_only", _last_position_only),
    Mutant("one_layer_dropped", submodule("model.layers.1", lambda hidden_states, **_: hidden_states)),
    Mutant("attention_off", every("LlamaAttention", forward=_nothing_attended)),
    Mutant("transposed_weight", transposed("model.layers.0.self_attn.q_proj.weight")),
    Mutant("gelu_for_silu", every("SiLU", forward=F.gelu)),
]


# ResNet-50

RESNET50 = [
    Mutant("batch_norm_skipped", every("BatchNorm2d", forward=_same)),
    Mutant("one_block_dropped", submodule("resnet.encoder.stages.0.layers.1", _same)),
    Mutant("transposed_weight", transposed("resnet.encoder.stages.0.layers.0.layer.0.convolution.weight")),
    Mutant("gelu_for_relu", every("ReLU", forward=F.gelu)),
]


# SmolVLA


def _crosses(*, self_attention: bool) -> Change:
    """Every layer attends to one and the same."""

    def apply(case: Case) -> None:
        for layer in case.module.layers:
            layer.crosses = not self_attention

    return apply


def _kv_heads_tiled(right: Forward, q: Tensor, k: Tensor, v: Tensor, **_: Any) -> Tensor:
    """Query heads 0, 1, 2, 3 take key heads 0, 1, 0, 1 instead of 0, 0, 1, 1."""
    assert k.shape[1] > 1
    return right(q, *(x.repeat(1, q.shape[1] // x.shape[1], 1, 1) for x in (k, v)))


def _causal(right: Forward, q: Tensor, k: Tensor, v: Tensor, **rest: Any) -> Tensor:
    return right(q, k, v, **rest | {"is_causal": q.shape[2] == k.shape[2] > 1})


def _gate_and_up_swapped(case: Case) -> None:
    for layer in case.module.layers:
        gate, up = layer.mlp.gate_proj.forward, layer.mlp.up_proj.forward
        layer.mlp.gate_proj.forward, layer.mlp.up_proj.forward = up, gate


def _unweighted(right: Forward, x: Tensor, shape: list[int], weight: Tensor, eps: float) -> Tensor:
    return right(x, shape, weight * 0 + 1, eps)


SMOLVLA = [
    Mutant("cross_attention_to_x", _crosses(self_attention=True)),
    Mutant("self_attention_to_context", _crosses(self_attention=False)),
    Mutant("kv_heads_tiled", function("scaled_dot_product_attention", _kv_heads_tiled)),
    Mutant(
        "kv_heads_reversed",
        function("scaled_dot_product_attention", lambda right, q, k, v, **rest: right(q, k.flip(1), v.flip(1), **rest)),
    ),
    Mutant("actions_masked_causally", function("scaled_dot_product_attention", _causal)),
    Mutant("one_layer_dropped", submodule("layers.1", _same)),
    Mutant("timestep_ignored", given("timestep", torch.zeros_like)),
    Mutant("context_ignored", given("context", torch.zeros_like)),
    Mutant("actions_reversed", given("noisy_actions", lambda x: x.flip(1))),
    Mutant("sines_for_cosines", given("timestep", lambda t: t.roll(t.shape[2] // 2, 2))),
    Mutant("norm_without_weight", function("rms_norm", _unweighted)),
    *slight("norm_eps_1e-2", every("RMSNorm", eps=1e-2)),
    Mutant("norm_skipped", submodule("norm", _same)),
    Mutant("gate_and_up_swapped", _gate_and_up_swapped),
    Mutant("gelu_for_silu", every("SiLU", forward=F.gelu)),
    Mutant("transposed_weight", transposed("layers.0.attention.q_proj.weight")),
]


# The U-Nets


def _concatenated(*, kept: bool) -> Change:
    """Skip connections before the stream instead of behind it, or zeros instead of them."""

    def other(right: Forward, tensors: list[Tensor], dim: int) -> Tensor:
        x, skip = tensors
        return right([skip, x] if kept else [x, skip * 0], dim=dim)

    return function("cat", other, torch)


def _downsampled(x: Tensor, layer: nn.Conv2d) -> Tensor:
    """Padded on the right and below alone, as other frameworks' SAME does."""
    return F.conv2d(F.pad(x, (0, 1, 0, 1)), layer.weight, layer.bias, stride=2)


def _downsampled_elsewhere(case: Case) -> None:
    strided = [m for m in case.module.modules() if isinstance(m, nn.Conv2d) and m.stride == (2, 2)]
    assert strided
    for layer in strided:
        layer.forward = partial(_downsampled, layer=layer)


def _read_as_channels_last(x: Tensor) -> Tensor:
    batch, channels, height, width = x.shape
    return x.reshape(batch, height, width, channels).permute(0, 3, 1, 2)


def _other_resize(mode: str) -> Change:
    return function("interpolate", lambda right, x, *_, **__: right(x, scale_factor=2.0, mode=mode))


def _images(latent: str, groups: int) -> list[Mutant]:
    return [
        Mutant("skips_first", _concatenated(kept=True)),
        Mutant("skips_dropped", _concatenated(kept=False)),
        Mutant("other_group_count", every("GroupNorm", num_groups=groups)),
        Mutant("group_norm_skipped", every("GroupNorm", forward=_same)),
        *slight("norm_eps_1e-2", every("GroupNorm", eps=1e-2)),
        Mutant("relu_for_silu", every("SiLU", forward=F.relu)),
        Mutant("gelu_for_silu", every("SiLU", forward=F.gelu)),
        Mutant("bilinear_resize", _other_resize("bilinear")),
        Mutant("padded_to_the_right", _downsampled_elsewhere),
        Mutant("nhwc_read_as_nchw", given(latent, _read_as_channels_last)),
        Mutant("height_and_width_swapped", given(latent, lambda x: x.transpose(2, 3))),
        Mutant("output_mirrored", outputs(lambda x: x.flip(3))),
        Mutant("latent_of_another_seed", given(latent, another_noise)),
    ]  # fmt: skip


SD_UNET = [
    *_images("noisy_latent", groups=8),
    Mutant("batch_reversed", given("noisy_latent", lambda x: x.flip(0))),
    Mutant("middle_dropped", submodule("mid_resnet", _same)),
    Mutant("transposed_weight", transposed("mid_resnet.conv1.weight")),
]


def _gated_by_the_other(case: Case) -> None:
    for layer in [child for child in case.module.modules() if type(child).__name__ == "GEGLU"]:
        right = layer.proj.forward
        layer.proj.forward = lambda x, right=right: right(x).unflatten(2, (2, -1)).flip(2).flatten(2)


def _cosines_behind(case: Case) -> None:
    embedding = case.module.time_embedding
    linear = embedding.linear_1.forward
    embedding.linear_1.forward = lambda waves: linear(waves.roll(waves.shape[1] // 2, 1))


SD15_UNET = [
    *_images("sample", groups=8),
    Mutant("text_ignored", given("encoder_hidden_states", torch.zeros_like)),
    Mutant("text_reversed_in_width", given("encoder_hidden_states", lambda x: x.flip(2))),
    Mutant("time_ignored", given("timestep", torch.zeros_like)),
    Mutant("time_off_by_one", given("timestep", lambda t: t + 1)),
    Mutant("sines_before_cosines", _cosines_behind),
    Mutant("geglu_halves_swapped", _gated_by_the_other),
    Mutant("other_head_count", every("Attention", heads=4)),
    Mutant("tanh_gelu", every("GELU", forward=tanh_gelu), CLOSE),
    Mutant("silu_for_gelu", every("GELU", forward=F.silu)),
    *slight("layer_norm_eps_1e-2", every("LayerNorm", eps=1e-2)),
    Mutant("one_transformer_dropped", submodule("mid_block.attentions.0", _same)),
    Mutant("one_block_dropped", submodule("down_blocks.2.resnets.0", _same)),
    Mutant("transposed_weight", transposed("mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight")),
]


# Whisper


def _encoder_masked(right: Forward, q: Tensor, k: Tensor, v: Tensor, **rest: Any) -> Tensor:
    return right(q, k, v, **rest | {"is_causal": bool(rest.get("is_causal")) or q.shape[2] == k.shape[2]})


def _decoder_not_masked(right: Forward, q: Tensor, k: Tensor, v: Tensor, **rest: Any) -> Tensor:
    return right(q, k, v, **rest | {"is_causal": False, "attn_mask": None})


def _untied(case: Case) -> None:
    weight = case.module.proj_out.weight
    fresh = another_noise(weight) * weight.detach().std()
    case.module.proj_out.forward = lambda x: F.linear(x, fresh)


def _shifted(weight: Tensor) -> Tensor:
    return weight.roll(1, 0)


def _encoder_not_attended(case: Case) -> None:
    for layer in case.module.model.decoder.layers:
        layer.encoder_attn.forward = _nothing_attended


WHISPER_TINY = [
    Mutant("encoder_not_attended", _encoder_not_attended),
    Mutant("encoder_positions_dropped", parameter("model.encoder.embed_positions.weight", torch.zeros_like)),
    Mutant("encoder_positions_shifted", parameter("model.encoder.embed_positions.weight", _shifted)),
    Mutant("decoder_positions_dropped", parameter("model.decoder.embed_positions.weight", torch.zeros_like)),
    Mutant("decoder_positions_shifted", parameter("model.decoder.embed_positions.weight", _shifted)),
    Mutant("no_causal_mask", function("scaled_dot_product_attention", _decoder_not_masked)),
    Mutant("encoder_masked", function("scaled_dot_product_attention", _encoder_masked)),
    Mutant("encoder_layer_dropped", submodule("model.encoder.layers.1", _same)),
    Mutant("decoder_layer_dropped", submodule("model.decoder.layers.1", _same)),
    Mutant("tanh_gelu", function("gelu", lambda right, x, **_: right(x, approximate="tanh")), CLOSE),
    Mutant("silu_for_gelu", function("gelu", lambda _, x, **__: F.silu(x))),
    *slight("layer_norm_eps_1e-2", every("LayerNorm", eps=1e-2)),
    Mutant("last_norm_skipped", submodule("model.decoder.layer_norm", _same)),
    Mutant("head_of_its_own", _untied),
    Mutant("token_off_by_one", given("decoder_input_ids", lambda ids: ids - 1)),
    Mutant("frames_reversed", given("input_features", lambda mel: mel.flip(2))),
    Mutant("mels_reversed", given("input_features", lambda mel: mel.flip(1))),
    Mutant("transposed_weight", transposed("model.encoder.conv1.weight")),
    Mutant("transposed_matrix", transposed("model.decoder.layers.0.encoder_attn.q_proj.weight")),
]

PANEL = {
    "resnet50": [*COMMON, *ALL_BF16, *LABELS, *CHANNELS_LAST, *RESNET50],
    "sd15_unet": [*COMMON, *ALL_BF16, *squares("noise"), *ATTENTION, *CHANNELS_LAST, *SD15_UNET],
    "sd_unet": [*COMMON, *NEARLY_BF16, *squares("noise"), *CHANNELS_LAST, *SD_UNET],
    "smollm2": [*COMMON, *ALL_BF16, *LABELS, *ATTENTION, *SMOLLM2],
    "smolvla": [*COMMON, *NEARLY_BF16, *squares("target"), *ATTENTION, *SMOLVLA],
    "whisper_tiny": [*COMMON, *NEARLY_BF16, *LABELS, *ATTENTION, *WHISPER_TINY],
}
