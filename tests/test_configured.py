from __future__ import annotations

from typing import Any

import pytest
import transformers
from tests.sources import trained

from pytest_inferena.prepare.case import squared_error
from pytest_inferena.prepare.complete import complete
from pytest_inferena.prepare.sources.configured import case_of
from pytest_inferena.prepare.sources.wanted import Wanted

SMALL = {"vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
WHISPER = {
    "vocab_size": 60, "num_mel_bins": 8, "d_model": 16, "encoder_layers": 1, "decoder_layers": 1,
    "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16,
    "max_source_positions": 20, "max_target_positions": 16, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    "decoder_start_token_id": 3,
}  # fmt: skip
WAV2VEC2 = {
    **SMALL, "conv_dim": [16, 16], "conv_stride": [40, 8], "conv_kernel": [40, 8], "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip
SHAPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "GPT2LMHeadModel": (
        {"vocab_size": 60, "n_positions": 20, "n_embd": 16, "n_layer": 1, "n_head": 2, "bos_token_id": 0,
         "eos_token_id": 0},
        {"input_ids": (4, 18), "attention_mask": (4, 18), "labels": (4, 18)},
    ),
    "GraniteMoeForCausalLM": (  # takes use_cache among **kwargs
        {**SMALL, "num_local_experts": 2, "num_experts_per_tok": 1, "pad_token_id": 0, "bos_token_id": 1,
         "eos_token_id": 2},
        {"input_ids": (4, 128), "attention_mask": (4, 128), "labels": (4, 128)},
    ),
    "Qwen3ForCausalLM": (
        {**SMALL, "num_key_value_heads": 1, "head_dim": 8, "pad_token_id": 0},
        {"input_ids": (4, 128), "attention_mask": (4, 128), "labels": (4, 128)},
    ),
    "T5ForConditionalGeneration": (
        {"vocab_size": 60, "d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2},
        {"input_ids": (4, 128), "attention_mask": (4, 128), "decoder_input_ids": (4, 128), "labels": (4, 128)},
    ),
    "ViTForImageClassification": (
        {**SMALL, "image_size": 16, "patch_size": 8, "num_labels": 3}, {"pixel_values": (4, 3, 16, 16), "labels": (4,)},
    ),
    "Wav2Vec2Model": (WAV2VEC2, {"input_values": (4, 16_000)}),
    "WhisperForConditionalGeneration": (
        WHISPER, {"input_features": (1, 8, 40), "decoder_input_ids": (1, 14), "labels": (1, 14)},
    ),
    "XLNetLMHeadModel": (  # says -1 for the length that it has places for
        {"vocab_size": 60, "d_model": 16, "n_layer": 1, "n_head": 2, "d_inner": 16},
        {"input_ids": (4, 128), "attention_mask": (4, 128), "labels": (4, 128)},
    ),
}  # fmt: skip
"""Classes of transformers → their configuration, and what is made of it."""


@pytest.mark.parametrize("name", SHAPES)
def test_what_a_configuration_gives(name: str) -> None:
    """Inputs and labels of the configured sizes, with which the model is captured and trained."""
    config, shapes = SHAPES[name]
    kind: Any = getattr(transformers, name)
    case = complete(case_of(kind(kind.config_class(**config)), Wanted()))
    made = case.inputs if case.loss is squared_error else {**case.inputs, **case.targets}

    assert shapes == {name: tuple(value.shape) for name, value in made.items() if hasattr(value, "shape")}
    assert ["inference", "latency", "training"] == trained(case)
