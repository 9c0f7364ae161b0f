"""Stable Diffusion 1.5's U-Net: text-conditioned denoising of latents, written out to be read.

Parameters have the names of the published checkpoint, the configuration is its own,
https://huggingface.co/stable-diffusion-v1-5/stable-diffusion-v1-5 (folder unet).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytest_inferena import Case

TITLE = "Stable Diffusion 1.5 U-Net"
UNIT = "latent"
ITEMS = 1
PARAMETERS = 859_520_964
SEEDED = True
LARGE = True
NEEDS_GIB = {"inference": 12, "latency": 12, "training": 64}


@dataclass(frozen=True)
class Config:
    """The published sizes."""

    channels: tuple[int, ...] = (320, 640, 1280, 1280)  # one number a level; all but the last attend
    resnets: int = 2  # a level, on the way down; one more on the way up
    heads: int = 8
    groups: int = 32
    text_width: int = 768  # D
    text_tokens: int = 77  # S
    side: int = 64

    @property
    def time_width(self) -> int:
        """E, of the embedded time step."""
        return 4 * self.channels[0]


TINY = Config((16, 32, 32), resnets=1, heads=2, groups=4, text_width=24, text_tokens=7, side=16)


class Resnet(nn.Module):
    """Two convolutions, the time step between them, added to the stream."""

    def __init__(self, config: Config, channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(config.groups, channels)
        self.conv1 = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.time_emb_proj = nn.Linear(config.time_width, out_channels)
        self.norm2 = nn.GroupNorm(config.groups, out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        keeps = channels == out_channels
        self.conv_shortcut = nn.Identity() if keeps else nn.Conv2d(channels, out_channels, 1)
        self.activation = nn.SiLU()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """X (B, C, H, W), time (B, E) to (B, O, H, W)."""
        y = self.conv1(self.activation(self.norm1(x)))  # (B, O, H, W)
        y = y + self.time_emb_proj(self.activation(time))[:, :, None, None]
        y = self.conv2(self.activation(self.norm2(y)))  # (B, O, H, W)
        return self.conv_shortcut(x) + y


class Attention(nn.Module):
    """From pixels to pixels, or to the text."""

    def __init__(self, width: int, source_width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(source_width, width, bias=False)
        self.to_v = nn.Linear(source_width, width, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        """X (B, N, C), source (B, S, D) to (B, N, C)."""
        q = self.to_q(x).unflatten(2, (self.heads, -1)).transpose(1, 2)  # (B, heads, N, d)
        k = self.to_k(source).unflatten(2, (self.heads, -1)).transpose(1, 2)  # (B, heads, S, d)
        v = self.to_v(source).unflatten(2, (self.heads, -1)).transpose(1, 2)  # (B, heads, S, d)
        y = F.scaled_dot_product_attention(q, k, v)  # (B, heads, N, d)
        return self.to_out[0](y.transpose(1, 2).flatten(2))


class GEGLU(nn.Module):
    """A linear layer gated by another."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 2 * hidden)
        self.activation = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) to (B, N, hidden)."""
        x, gate = self.proj(x).chunk(2, dim=-1)  # (B, N, hidden) each
        return x * self.activation(gate)


class FeedForward(nn.Module):
    """Out to four times the width and back."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(GEGLU(width, 4 * width), nn.Identity(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) to (B, N, C)."""
        return self.net(x)


class TransformerBlock(nn.Module):
    """Attention to pixels, attention to the text, and a feed-forward network."""

    def __init__(self, config: Config, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.attn1 = Attention(width, width, config.heads)
        self.attn2 = Attention(width, config.text_width, config.heads)
        self.ff = FeedForward(width)

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        """X (B, N, C), text (B, S, D) to (B, N, C)."""
        normed = self.norm1(x)  # (B, N, C)
        x = x + self.attn1(normed, normed)
        x = x + self.attn2(self.norm2(x), text)
        return x + self.ff(self.norm3(x))


class SpatialTransformer(nn.Module):
    """A transformer over an image's pixels, added to the stream."""

    def __init__(self, config: Config, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(config.groups, channels, eps=1e-6)
        self.proj_in = nn.Conv2d(channels, channels, 1)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(config, channels)])
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        """X (B, C, H, W), text (B, S, D) to (B, C, H, W)."""
        y = self.proj_in(self.norm(x)).flatten(2).transpose(1, 2)  # (B, H * W, C)
        for block in self.transformer_blocks:
            y = block(y, text)
        return x + self.proj_out(y.transpose(1, 2).unflatten(2, x.shape[2:]))


class Downsample(nn.Module):
    """To half the resolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, H / 2, W / 2)."""
        return self.conv(x)


class Upsample(nn.Module):
    """To twice the resolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, 2 H, 2 W)."""
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Block(nn.Module):
    """What one level of resolution does: residual blocks, each followed by attention where the level has it."""

    def __init__(self, config: Config, channels: list[tuple[int, int]], *, attentions: int) -> None:
        super().__init__()
        self.resnets = nn.ModuleList([Resnet(config, i, o) for i, o in channels])
        if attentions:
            self.attentions = nn.ModuleList([SpatialTransformer(config, o) for _, o in channels[:attentions]])

    def step(self, index: int, x: Tensor, time: Tensor, text: Tensor) -> Tensor:
        """One residual block and its attention: x (B, C, H, W) to (B, O, H, W)."""
        x = self.resnets[index](x, time)
        attends = hasattr(self, "attentions") and index < len(self.attentions)
        return self.attentions[index](x, text) if attends else x


class TimeEmbedding(nn.Module):
    """The number of a time step as a vector."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.half = config.channels[0] // 2
        self.linear_1 = nn.Linear(config.channels[0], config.time_width)
        self.linear_2 = nn.Linear(config.time_width, config.time_width)
        self.activation = nn.SiLU()

    def forward(self, timestep: Tensor) -> Tensor:
        """Integers (B,) to (B, E); cosines and sines at wavelengths from 1 to 10000, their angles in float32."""
        rates = torch.exp(-math.log(10_000) * torch.arange(self.half, dtype=torch.float32) / self.half)
        angles = (timestep[:, None].float() * rates).to(self.linear_1.weight.dtype)  # (B, half)
        waves = torch.cat([angles.cos(), angles.sin()], dim=1)  # (B, C0)
        return self.linear_2(self.activation(self.linear_1(waves)))


class UNet(nn.Module):
    """Down to the lowest level and up again; every step's result on the way down is kept for the way up."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        widths, first = config.channels, config.channels[0]
        self.conv_in = nn.Conv2d(4, first, 3, padding=1)
        self.time_embedding = TimeEmbedding(config)
        self.down_blocks, self.up_blocks = nn.ModuleList(), nn.ModuleList()
        channels, kept = first, [first]
        for level, width in enumerate(widths):
            lowest = level == len(widths) - 1
            steps = [(channels if i == 0 else width, width) for i in range(config.resnets)]
            block = Block(config, steps, attentions=0 if lowest else len(steps))
            if not lowest:
                block.downsamplers = nn.ModuleList([Downsample(width)])
            self.down_blocks.append(block)
            channels = width
            kept += [width] * (config.resnets + (not lowest))
        self.mid_block = Block(config, [(channels, channels)] * 2, attentions=1)
        for level, width in reversed(list(enumerate(widths))):
            steps = [((channels if i == 0 else width) + kept.pop(), width) for i in range(config.resnets + 1)]
            block = Block(config, steps, attentions=0 if level == len(widths) - 1 else len(steps))
            if level:
                block.upsamplers = nn.ModuleList([Upsample(width)])
            self.up_blocks.append(block)
            channels = width
        self.conv_norm_out = nn.GroupNorm(config.groups, first)
        self.activation = nn.SiLU()
        self.conv_out = nn.Conv2d(first, 4, 3, padding=1)

    def forward(self, sample: Tensor, timestep: Tensor, encoder_hidden_states: Tensor) -> Tensor:
        """Latents (B, 4, H, W), timestep (B,), text (B, S, D) to the noise in the latents (B, 4, H, W)."""
        text, time = encoder_hidden_states, self.time_embedding(timestep)  # (B, S, D), (B, E)
        x = self.conv_in(sample)  # (B, C0, H, W)
        kept = [x]
        for block in self.down_blocks:
            for index in range(len(block.resnets)):
                x = block.step(index, x, time, text)
                kept.append(x)
            for downsample in getattr(block, "downsamplers", ()):
                x = downsample(x)
                kept.append(x)
        for index in range(len(self.mid_block.resnets)):
            x = self.mid_block.step(index, x, time, text)  # (B, C, H / 8, W / 8)
        for block in self.up_blocks:
            for index in range(len(block.resnets)):
                x = block.step(index, torch.cat([x, kept.pop()], dim=1), time, text)
            for upsample in getattr(block, "upsamplers", ()):
                x = upsample(x)
        return self.conv_out(self.activation(self.conv_norm_out(x)))


def case(size: str = "full") -> Case:
    """A latent of 4 x 64 x 64 and 77 text states; "tiny" has 4 x 16 x 16, 7 states, three levels, few channels."""
    config = Config() if size == "full" else TINY
    random = np.random.default_rng(0)

    def normal(*shape: int) -> Tensor:
        return torch.from_numpy(random.standard_normal((ITEMS, *shape), dtype=np.float32))

    inputs = {
        "sample": normal(4, config.side, config.side),  # (1, 4, H, W)
        "timestep": torch.full((ITEMS,), 500),  # (1,)
        "encoder_hidden_states": normal(config.text_tokens, config.text_width),  # (1, S, D)
    }
    full = size == "full"
    return Case(
        module=UNet(config).eval(),
        inputs=inputs,
        latency=inputs,  # one latent is the smallest there is
        targets={"noise": normal(4, config.side, config.side)},  # (1, 4, H, W)
        loss=loss,
        hub="stable-diffusion-v1-5/stable-diffusion-v1-5" if full else None,
        hub_folder="unet",
    )


def loss(predicted: Tensor, noise: Tensor) -> Tensor:
    """Mean squared error: both (B, 4, H, W)."""
    return F.mse_loss(predicted, noise)
