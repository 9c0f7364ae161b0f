"""CTranslate2: a Llama or a Whisper, recognised in the Program and written as the engine's own model.

The engine has Whisper's encoder and decoder in one call, `generate`, which takes tokens that have to come
first and gives the logits of every step. The decoder goes over them one at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ctranslate2
import numpy as np
from ctranslate2.models import Whisper as WhisperModel

from pytest_inferena import Exchange, refuse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pytest_inferena import Entry, Program
    from pytest_inferena.program.checkpoint import Affine, Llama, Whisper
    from pytest_inferena.program.checkpoint.whisper import Attention, Norm

Array = np.ndarray[Any, Any]
SOT = "<|endoftext|>"
"""The token that starts a transcript: Whisper's vocabulary names it so when it has no other special token.

With no token for "no timestamps" either, logits stay as they are.
"""


class Adapter(Exchange):
    """The engine opens a model and builds it in one call: compiling includes loading."""

    model: ctranslate2.Generator | WhisperModel | None = None

    @classmethod
    def prepare(cls, program: Program, folder: Path) -> None:
        """Write the model into a folder of its kind, and ENTRY.unsupported where there is a reason for it."""
        from safetensors.numpy import load_file

        from pytest_inferena.program.checkpoint import ENTRIES, Llama, llama, recognise, whisper

        found, reasons = recognise(program, llama, whisper)
        reasons = {name: f"CTranslate2 runs architectures that it knows: {reason}" for name, reason in reasons.items()}
        if found is not None:
            weights = load_file(program.folder / "weights.safetensors")
            if isinstance(found, Llama):
                kind, spec = "llama", llama_spec(found, weights)
            else:
                entries = [name for name in ENTRIES if name not in reasons]
                start, more = transcripts_start(program, found.tokens, entries)
                reasons |= more
                kind, spec = "whisper", whisper_spec(found, weights, start)
            spec.validate()
            spec.optimize()  # shares what is equal: a tied head is stored once
            (folder / kind).mkdir()
            spec.save(str(folder / kind))
        for name, reason in reasons.items():
            refuse(folder, name, reason)

    def build(self, entry: Entry) -> Step:
        """Open the model, once, and bring the inputs into the engine."""
        if (self.exchange / "llama").exists():
            generator = self._open(ctranslate2.Generator, "llama")
            return Step(entry, logits(generator, entry), np.asarray)
        model = self._open(WhisperModel, "whisper")
        return Step(entry, transcription(model, entry), stacked)

    def describe(self) -> str:
        """Device and type that the model reports."""
        if self.model is None:
            return "CTranslate2, no model yet"
        return f"CTranslate2, {self.model.device}, {self.model.compute_type}, {self.setup.threads} threads"

    def _open(self, kind: Any, folder: str) -> Any:
        if self.model is None:
            self.model = kind(
                str(self.exchange / folder), device=self.setup.device, compute_type="float32",
                inter_threads=1, intra_threads=self.setup.threads, flash_attention=False,
            )  # fmt: skip
        return self.model


class Step:
    """A call of the engine whose result stays where the engine made it."""

    def __init__(self, entry: Entry, run: Callable[[], Any], fetch: Callable[[Any], Array]) -> None:
        [self.name] = entry.outputs
        self.run, self.fetch = run, fetch
        self.result: Any = None

    def __call__(self) -> None:
        """Run the model."""
        self.result = None
        self.result = self.run()

    def synchronize(self) -> None:
        """Nothing to wait for: the call returns when it is done."""

    def outputs(self) -> dict[str, Array]:
        """The logits."""
        return {self.name: self.fetch(self.result)}


def logits(model: ctranslate2.Generator, entry: Entry) -> Callable[[], Any]:
    """Token ids (B, T) to logits (B, T, vocabulary)."""
    [tokens] = entry.arrays("inputs").values()
    ids = ctranslate2.StorageView.from_array(tokens.astype(np.int32))
    lengths = ctranslate2.StorageView.from_array(np.full(len(tokens), tokens.shape[1], np.int32))
    return lambda: model.forward_batch(ids, lengths)


def transcription(model: WhisperModel, entry: Entry) -> Callable[[], Any]:
    """Spectrogram (B, M, F) and token ids (B, T) to a result with T logits (vocabulary,) for each of B."""
    arrays = entry.arrays("inputs").values()
    [features] = [array for array in arrays if array.ndim == 3]
    [tokens] = [array for array in arrays if array.ndim == 2]
    held = ctranslate2.StorageView.from_array(features)
    prompts = tokens.tolist()
    steps = tokens.shape[1]  # which is at most half of `max_length`
    return lambda: model.generate(
        held, prompts, beam_size=1, max_length=2 * steps, return_logits_vocab=True,
        suppress_blank=False, suppress_tokens=[],
    )  # fmt: skip


def stacked(results: list[Any]) -> Array:
    """Logits (B, T, vocabulary) of a transcription."""
    return np.stack([np.stack([np.asarray(step) for step in result.logits[0]]) for result in results])


def llama_spec(model: Llama, weights: Mapping[str, Array]) -> Any:
    """What the engine's converter makes of LlamaForCausalLM."""
    from ctranslate2.specs import common_spec, transformer_spec

    spec = transformer_spec.TransformerDecoderModelSpec.from_config(
        len(model.layers), model.heads, activation=common_spec.Activation.SWISH, ffn_glu=True, rms_norm=True,
        rotary_dim=0, rotary_interleave=False, rotary_base=model.rope_base or 1.0,
        num_heads_kv=model.groups, head_dim=model.head_width,
    )  # fmt: skip
    spec.decoder.scale_embeddings = False
    spec.decoder.embeddings.weight = weights[model.embedding]
    spec.decoder.layer_norm.gamma = weights[model.norm]
    spec.decoder.projection.weight = weights[model.head]
    for to, layer in zip(spec.decoder.layer, model.layers, strict=True):
        to.self_attention.layer_norm.gamma = weights[layer.attention_norm]
        to.self_attention.linear[0].weight = np.concatenate([weights[n] for n in (layer.query, layer.key, layer.value)])
        to.self_attention.linear[1].weight = weights[layer.output]
        to.ffn.layer_norm.gamma = weights[layer.feed_forward_norm]
        to.ffn.linear_0.weight = weights[layer.gate]
        to.ffn.linear_0_noact.weight = weights[layer.up]
        to.ffn.linear_1.weight = weights[layer.down]
    spec.config.layer_norm_epsilon = model.epsilon
    tokens = list(map(str, range(model.vocabulary)))
    spec.config.unk_token = spec.config.bos_token = spec.config.eos_token = tokens[0]
    spec.register_vocabulary(tokens)
    return spec


def whisper_spec(model: Whisper, weights: Mapping[str, Array], start: int) -> Any:
    """What the engine's converter makes of WhisperForConditionalGeneration, with a vocabulary of our own.

    Args:
        model: its weights' names.
        weights: arrays by name.
        start: the token that transcripts start with.
    """
    from ctranslate2.specs import whisper_spec as specs

    encoder, decoder = model.encoder, model.decoder
    spec = specs.WhisperSpec(len(encoder.layers), encoder.heads, len(decoder.layers), decoder.heads)
    for to, affine in zip((spec.encoder.conv1, spec.encoder.conv2), model.convolutions, strict=True):
        linear(to, weights, affine)
    spec.decoder.scale_embeddings = False
    spec.decoder.embeddings.weight = weights[model.embedding]
    spec.decoder.projection.weight = weights[model.head]
    for half, stack in ((spec.encoder, encoder), (spec.decoder, decoder)):
        half.position_encodings.encodings = weights[stack.positions]
        norm(half.layer_norm, weights, stack.norm)
        for to, layer in zip(half.layer, stack.layers, strict=True):
            attention(to.self_attention, weights, layer.attention)
            if layer.cross is not None:
                attention(to.attention, weights, layer.cross)
            norm(to.ffn.layer_norm, weights, layer.norm)
            linear(to.ffn.linear_0, weights, layer.up)
            linear(to.ffn.linear_1, weights, layer.down)
    spec.config.add_attribute("layer_norm_epsilon", model.epsilon)
    tokens = list(map(str, range(len(weights[model.embedding]))))
    tokens[start] = SOT
    spec.register_vocabulary(tokens)
    return spec


def transcripts_start(program: Program, tokens: str, entries: list[str]) -> tuple[int, dict[str, str]]:
    """The token that the decoder's input starts with, and by entry the reason why it cannot start so."""
    rows = {name: program.entry(name).arrays("inputs")[tokens] for name in entries}
    start, reasons = int(next(iter(rows.values()))[0, 0]), {}
    for name, ids in rows.items():
        if (ids[:, 0] != start).any() or (ids[:, 1:2] == start).any():
            reasons[name] = f"CTranslate2's Whisper takes one special token at the start of rows, here {start}"
    return start, reasons


def attention(to: Any, weights: Mapping[str, Array], of: Attention) -> None:
    """Set an attention: two matrices where it reads itself, else three, of which the first makes queries only."""
    norm(to.layer_norm, weights, of.norm)
    own = len(to.linear) == 2
    linear(to.linear[0], weights, *((of.query, of.key, of.value) if own else (of.query,)))
    if not own:
        linear(to.linear[1], weights, of.key, of.value)
    linear(to.linear[-1], weights, of.output)


def norm(to: Any, weights: Mapping[str, Array], of: Norm) -> None:
    """Set a LayerNorm."""
    to.gamma, to.beta = weights[of.weight], weights[of.bias]


def linear(to: Any, weights: Mapping[str, Array], *parts: Affine) -> None:
    """Set a matrix, or several below one another; a bias that some of them lack is zero there."""
    to.weight = np.concatenate([weights[part.weight] for part in parts])
    if any(part.bias for part in parts):
        zeros = {part.weight: np.zeros(len(weights[part.weight]), np.float32) for part in parts}
        to.bias = np.concatenate([weights[part.bias] if part.bias else zeros[part.weight] for part in parts])
