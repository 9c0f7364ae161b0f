"""Small modules of the families that are benchmarked."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Made = tuple[nn.Module, dict[str, Tensor]]

IDS = (torch.arange(12) * 7 % 50).reshape(2, 6)  # holds 0, the padding index of BERT and Whisper
NARROW = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
TOKENS: dict[str, Any] = {"pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0, "decoder_start_token_id": 1}


class Bert(transformers.BertModel):
    """Token ids to states."""

    def forward(self, input_ids: Tensor) -> Tensor:
        """(B, T) to (B, T, D)."""
        return super().forward(input_ids=input_ids).last_hidden_state


class ViT(transformers.ViTModel):
    """Images to states."""

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, patches + 1, D)."""
        return super().forward(pixel_values=pixel_values).last_hidden_state


class GPT2(transformers.GPT2LMHeadModel):
    """Token ids to logits."""

    def forward(self, input_ids: Tensor) -> Tensor:
        """(B, T) to (B, T, vocabulary)."""
        return super().forward(input_ids=input_ids, use_cache=False).logits


class Llama(transformers.LlamaForCausalLM):
    """Token ids to logits, two heads to each key and value."""

    def forward(self, input_ids: Tensor) -> Tensor:
        """(B, T) to (B, T, vocabulary)."""
        return super().forward(input_ids=input_ids, use_cache=False).logits


class T5(transformers.T5ForConditionalGeneration):
    """Token ids of both sides to logits."""

    def forward(self, input_ids: Tensor, decoder_input_ids: Tensor) -> Tensor:
        """(B, T), (B, U) to (B, U, vocabulary)."""
        return super().forward(input_ids=input_ids, decoder_input_ids=decoder_input_ids, use_cache=False).logits


class Whisper(transformers.WhisperForConditionalGeneration):
    """A spectrogram and token ids to logits."""

    def forward(self, input_features: Tensor, decoder_input_ids: Tensor) -> Tensor:
        """(B, mels, frames), (B, U) to (B, U, vocabulary)."""
        inputs = {"input_features": input_features, "decoder_input_ids": decoder_input_ids}
        return super().forward(**inputs, use_cache=False).logits


class ResNet(transformers.ResNetForImageClassification):
    """Images to logits."""

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, classes)."""
        return super().forward(pixel_values=pixel_values).logits


class MLP(nn.Module):
    """Two matrices that are one, a parameter that nothing depends on, and one without gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.unused = nn.Parameter(torch.ones(3))
        self.frozen = nn.Parameter(torch.full((4,), 0.5), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 4) to (B, 4)."""
        return self.second(torch.tanh(self.first(x))) * self.frozen


class ConvNet(nn.Module):
    """Max pool, batch norm, group norm, upsampling, and a stride that does not divide."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2)
        self.norm = nn.BatchNorm2d(8)
        self.norm.running_mean = torch.randn(8)
        self.norm.running_var = torch.rand(8) + 0.5
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.group = nn.GroupNorm(2, 8)
        self.dilated = nn.Conv2d(8, 4, 3, padding=2, dilation=2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 20, 20) to (B, 4, 10, 10)."""
        x = self.pool(F.relu(self.norm(self.stem(x))))
        return self.dilated(F.interpolate(F.silu(self.group(x)), scale_factor=2.0))


class Attention(nn.Module):
    """Two heads; keys and values from another sequence."""

    def __init__(self, width: int, context: int) -> None:
        super().__init__()
        self.q = nn.Linear(width, width, bias=False)
        self.k, self.v = (nn.Linear(context, width, bias=False) for _ in range(2))
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """(B, S, D), (B, T, C) to (B, S, D)."""
        heads = [t.unflatten(-1, (2, -1)).transpose(1, 2) for t in (self.q(x), self.k(context), self.v(context))]
        return self.out(F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))


class Residual(nn.Module):
    """A block of Stable Diffusion's U-Net: two convolutions and the time between them."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(4, before), nn.GroupNorm(4, after)
        self.conv1, self.conv2 = nn.Conv2d(before, after, 3, padding=1), nn.Conv2d(after, after, 3, padding=1)
        self.time, self.skip = nn.Linear(16, after), nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """(B, C, H, W), (B, 16) to (B, C', H, W)."""
        h = self.conv1(F.silu(self.norm1(x))) + self.time(F.silu(time))[:, :, None, None]
        return self.skip(x) + self.conv2(F.silu(self.norm2(h)))


class UNet(nn.Module):
    """Down, attention to itself and to a text, GEGLU, up, and a skip, as in Stable Diffusion."""

    def __init__(self) -> None:
        super().__init__()
        self.time, self.stem, self.down = nn.Linear(8, 16), nn.Conv2d(4, 8, 3, padding=1), Residual(8, 8)
        self.shrink, self.norm = nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.LayerNorm(16)
        self.own, self.cross = Attention(16, 16), Attention(16, 24)
        self.wide, self.narrow = nn.Linear(16, 128), nn.Linear(64, 16)
        self.up, self.last, self.head = nn.Conv2d(16, 8, 3, padding=1), Residual(16, 8), nn.Conv2d(8, 4, 3, padding=1)

    def forward(self, sample: Tensor, timestep: Tensor, context: Tensor) -> Tensor:
        """(B, 4, 8, 8), (B,) of integers, (B, T, 24) to (B, 4, 8, 8)."""
        angles = timestep[:, None].float() * torch.exp(-torch.arange(4) / 4 * 9.2)[None]
        time = self.time(torch.cat([angles.sin(), angles.cos()], -1))
        skip = self.down(self.stem(sample), time)
        low = self.shrink(skip)
        h = self.norm(low.flatten(2).transpose(1, 2))
        h = self.cross(h + self.own(h, h), context)
        value, gate = self.wide(h).chunk(2, -1)
        h = self.narrow(value * F.gelu(gate)).transpose(1, 2).reshape(low.shape) + low
        h = self.up(F.interpolate(h, scale_factor=2.0, mode="nearest"))
        return self.head(F.silu(self.last(torch.cat([h, skip], 1), time)))


def _llama() -> Made:
    config = transformers.LlamaConfig(
        vocab_size=50, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=48, tie_word_embeddings=True,
    )  # fmt: skip
    return Llama(config), {"input_ids": IDS}


def _whisper() -> Made:
    config = transformers.WhisperConfig(
        vocab_size=50, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, num_mel_bins=8,
        max_source_positions=10, max_target_positions=8, **TOKENS,
    )  # fmt: skip
    return Whisper(config), {"input_features": torch.randn(1, 8, 20), "decoder_input_ids": IDS[:1, :4]}


def _t5() -> Made:
    config = transformers.T5Config(
        vocab_size=50, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, decoder_start_token_id=0
    )
    return T5(config), {"input_ids": IDS, "decoder_input_ids": IDS[:, :4]}


def _gpt2() -> Made:
    config = transformers.GPT2Config(
        vocab_size=50, n_positions=16, n_embd=16, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0
    )
    return GPT2(config), {"input_ids": IDS}


def _resnet() -> Made:
    config = transformers.ResNetConfig(num_labels=5, embedding_size=4, hidden_sizes=[8, 8], depths=[1, 1])
    return ResNet(config), {"pixel_values": torch.randn(2, 3, 33, 33)}


MODELS: Mapping[str, Callable[[], Made]] = {
    "bert": lambda: (
        Bert(transformers.BertConfig(vocab_size=50, max_position_embeddings=16, **NARROW)),
        {"input_ids": IDS},
    ),
    "convnet": lambda: (ConvNet(), {"x": torch.randn(2, 3, 20, 20)}),
    "gpt2": _gpt2,
    "llama": _llama,
    "mlp": lambda: (MLP(), {"x": torch.randn(3, 4)}),
    "resnet": _resnet,
    "t5": _t5,
    "unet": lambda: (
        UNet(),
        {
            "sample": torch.randn(2, 4, 8, 8),
            "timestep": torch.tensor([3, 500]),
            "context": torch.randn(2, 5, 24),
        },
    ),
    "vit": lambda: (
        ViT(transformers.ViTConfig(image_size=16, patch_size=8, **NARROW)),
        {"pixel_values": torch.randn(2, 3, 16, 16)},
    ),
    "whisper": _whisper,
}


@functools.cache
def model(name: str) -> Made:
    """A module in eval mode, seeded, and its inputs; the same to every test."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    module, inputs = MODELS[name]()
    return module.eval(), inputs
