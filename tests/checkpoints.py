"""Small models of the architectures that checkpoint engines know, and an engine that runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file
from tests.conformance import ROOT
from transformers import LlamaConfig, LlamaForCausalLM, WhisperConfig, WhisperForConditionalGeneration

from pytest_inferena.prepare.entries import write_entry
from pytest_inferena.program.capture import capture, parameter_names
from pytest_inferena.worker import Program, Setup, TensorSpec
from pytest_inferena.worker.loading import load_adapter

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from torch import Tensor, nn


class _Llama(LlamaForCausalLM):
    def forward(self, input_ids: Tensor) -> Tensor:
        return self.lm_head(self.model(input_ids=input_ids, use_cache=False).last_hidden_state)


class _Whisper(WhisperForConditionalGeneration):
    def forward(self, input_features: Tensor, decoder_input_ids: Tensor) -> Tensor:
        found = self.model(input_features=input_features, decoder_input_ids=decoder_input_ids, use_cache=False)
        return self.proj_out(found.last_hidden_state)


def small_llama(**settings: Any) -> nn.Module:
    """A Llama whose heads do not fill its width, with a head of its own and a base and an eps that are no defaults."""
    sizes = {
        "vocab_size": 40, "hidden_size": 24, "intermediate_size": 20, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "rms_norm_eps": 1e-3,
        "rope_parameters": {"rope_type": "default", "rope_theta": 500.0}, "tie_word_embeddings": False,
    }  # fmt: skip
    return seeded(_Llama(LlamaConfig(**sizes | settings)))


def small_whisper() -> nn.Module:
    """A Whisper whose encoder and decoder have different depths and numbers of heads."""
    config = WhisperConfig(
        vocab_size=40, max_source_positions=12, max_target_positions=8, d_model=24, num_mel_bins=10,
        encoder_layers=1, decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=3,
        encoder_ffn_dim=20, decoder_ffn_dim=28,
        bos_token_id=1, eos_token_id=1, pad_token_id=1, decoder_start_token_id=2,
    )  # fmt: skip
    return seeded(_Whisper(config))


def seeded(module: nn.Module) -> nn.Module:
    """Weights that all matter: none is 0 or 1 as at the start of a training."""
    random = torch.Generator().manual_seed(0)
    for name, parameter in module.named_parameters():
        spread = 0.3 * torch.randn(parameter.shape, generator=random)
        parameter.data = spread + ("norm" in name and name.endswith("weight"))
    return module.eval()


def write_program(folder: Path, module: nn.Module, **entries: Mapping[str, Tensor]) -> Program:
    """A Program of a module with entries for these inputs."""
    parameters = dict(module.named_parameters())
    specs = {name: TensorSpec(name, tuple(p.shape), "float32") for name, p in parameters.items()}
    program = Program(folder, "small", specs, frozenset(specs))
    program.write()
    save_file({name: p.detach().contiguous() for name, p in parameters.items()}, folder / "weights.safetensors")
    for name, inputs in entries.items():
        write_entry(folder, name, capture(module, inputs, ("output",), parameter_names(module)), inputs)
    return program


def engine(framework: str) -> Any:
    """An engine's adapter class."""
    return load_adapter(framework, ROOT / "adapters" / framework / "adapter.py").Adapter


def opened(framework: str, program: Program, exchange: Path) -> Any:
    """An engine's adapter with what it prepares of a Program."""
    kind = engine(framework)
    kind.prepare(program, exchange)
    adapter = kind(Setup("cpu", "cpu", 1, exchange, exchange))
    adapter.load(program, load_file(program.folder / "weights.safetensors"))
    return adapter


def ran(step: Any) -> np.ndarray[Any, Any]:
    """What a step computes when it is run twice."""
    for _ in range(2):
        step()
        step.synchronize()
    output: np.ndarray[Any, Any] = step.outputs()["output"]
    return output


def error(module: nn.Module, inputs: Mapping[str, Tensor], output: np.ndarray[Any, Any]) -> float:
    """NRMSE of an engine's output against the module in float64; 1 where the shape is another."""
    with torch.no_grad():
        golden = module.double()(**{name: x.double() if x.is_floating_point() else x for name, x in inputs.items()})
    module.float()
    if golden.shape != output.shape:
        return 1.0
    return float((torch.tensor(output) - golden).square().mean().sqrt() / golden.square().mean().sqrt())
