"""Whisper-tiny: speech to text, encoder and decoder, Hugging Face's own module.

The configuration is the published one, https://huggingface.co/openai/whisper-tiny.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from transformers import WhisperConfig, WhisperForConditionalGeneration

from pytest_inferena import Case

if TYPE_CHECKING:
    from torch import Tensor

TITLE = "Whisper-tiny"
UNIT = "audio second"
ITEMS = 30
PARAMETERS = 37_760_640
SEEDED = True
ARENA = "Whisper-tiny"

END = 50257
TOKENS = (50258, 50259, 50359, 50363)  # start of transcript, English, transcribe, no timestamps


class WhisperTiny(WhisperForConditionalGeneration):
    """The checkpoint's module, returning plain logits."""

    def forward(self, input_features: Tensor, decoder_input_ids: Tensor) -> Tensor:
        """A log-mel spectrogram (B, mels, frames) and token ids (B, T) to logits (B, T, vocabulary)."""
        found = self.model(input_features=input_features, decoder_input_ids=decoder_input_ids, use_cache=False)
        return self.proj_out(found.last_hidden_state)  # (B, T, V)


def case(size: str = "full") -> Case:
    """30 seconds and the four tokens a transcript starts with; "tiny" has 2 + 2 narrow layers and a second."""
    if size == "full":
        shape = {"vocab_size": 51865, "max_source_positions": 1500, "max_target_positions": 448, "d_model": 384}
        layers, heads, hidden, end, tokens = 4, 6, 1536, END, TOKENS
    else:
        shape = {"vocab_size": 512, "max_source_positions": 50, "max_target_positions": 16, "d_model": 48}
        layers, heads, hidden, end, tokens = 2, 3, 96, 500, (501, 502, 503, 504)
    config = WhisperConfig(
        **shape,
        num_mel_bins=80,
        encoder_layers=layers,
        decoder_layers=layers,
        encoder_attention_heads=heads,
        decoder_attention_heads=heads,
        encoder_ffn_dim=hidden,
        decoder_ffn_dim=hidden,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        decoder_start_token_id=tokens[0],
    )
    features = spectrogram(config.num_mel_bins, 2 * config.max_source_positions)  # (1, mels, frames)
    return Case(
        module=WhisperTiny(config).eval(),
        inputs={"input_features": features, "decoder_input_ids": torch.tensor([tokens])},  # (1, T)
        latency={"input_features": features, "decoder_input_ids": torch.tensor([tokens[:1]])},  # (1, 1)
        targets={"labels": torch.tensor([[*tokens[1:], end]])},  # (1, T)
        loss=loss,
        hub="openai/whisper-tiny" if size == "full" else None,
    )


def spectrogram(mels: int, frames: int, sounds: int = 16) -> Tensor:
    """Spectra that change slowly, and noise, (1, mels, frames).

    Neighbours resemble each other, as in speech. Attention to nothing but noise would give its average, whatever the
    queries and keys are.
    """
    random = np.random.default_rng(0)
    spectra = random.standard_normal((mels, sounds))
    place = np.linspace(0, sounds - 1, frames)  # (frames,)
    before = np.minimum(place.astype(int), sounds - 2)  # (frames,)
    share = place - before  # (frames,)
    clear = spectra[:, before] * (1 - share) + spectra[:, before + 1] * share  # (mels, frames)
    mel = clear + 0.3 * random.standard_normal((mels, frames))
    return torch.from_numpy(mel.astype(np.float32))[None]


def loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy over all positions: logits (B, T, V), labels (B, T)."""
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten())
