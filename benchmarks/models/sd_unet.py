"""The small Stable Diffusion U-Net of Inference Arena (github kvark/inferena), of convolutions alone.

Residual blocks on three levels of resolution with skip connections, and neither text nor a time step.
No checkpoint of it is published.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytest_inferena import Case

TITLE = "Stable Diffusion U-Net (small)"
UNIT = "latent"
ITEMS = 2
PARAMETERS = 5_294_080
SEEDED = True
ARENA = "StableDiffusion"


@dataclass(frozen=True)
class Config:
    """The sizes that are benchmarked."""

    channels: tuple[int, ...] = (64, 128, 256)  # one number a level
    groups: int = 16
    latent_channels: int = 4
    batch: int = ITEMS
    side: int = 32


TINY = Config(channels=(16, 32, 64), groups=4, side=16)


class Resnet(nn.Module):
    """Two times norm, SiLU and convolution, added to the stream."""

    def __init__(self, channels: int, out_channels: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, channels)
        self.conv1 = nn.Conv2d(channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(groups, out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        keeps = channels == out_channels
        self.conv_shortcut = nn.Identity() if keeps else nn.Conv2d(channels, out_channels, 1, bias=False)
        self.activation = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, O, H, W)."""
        y = self.conv1(self.activation(self.norm1(x)))  # (B, O, H, W)
        y = self.conv2(self.activation(self.norm2(y)))  # (B, O, H, W)
        return self.conv_shortcut(x) + y


class UNet(nn.Module):
    """Down to a quarter of the resolution and up again; every level's result is kept for the way up."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        groups, widths = config.groups, config.channels
        first, last = widths[0], widths[-1]
        self.conv_in = nn.Conv2d(config.latent_channels, first, 3, padding=1, bias=False)
        down, up = (first, *widths[:-1]), (*widths[1:], last)  # what comes into each level
        self.down_resnets = nn.ModuleList([Resnet(i, o, groups) for i, o in zip(down, widths, strict=True)])
        self.downsamplers = nn.ModuleList([nn.Conv2d(c, c, 3, stride=2, padding=1, bias=False) for c in widths[:-1]])
        self.mid_resnet = Resnet(last, last, groups)
        self.up_resnets = nn.ModuleList([Resnet(i + o, o, groups) for i, o in zip(up, widths, strict=True)])
        self.upsampler = nn.Upsample(scale_factor=2, mode="nearest")
        self.norm_out = nn.GroupNorm(groups, first)
        self.activation = nn.SiLU()
        self.conv_out = nn.Conv2d(first, config.latent_channels, 3, padding=1, bias=False)

    def forward(self, noisy_latent: Tensor) -> Tensor:
        """Latents (B, 4, H, W) to the noise in them (B, 4, H, W)."""
        x = self.conv_in(noisy_latent)  # (B, C0, H, W)
        skips = []
        for level, resnet in enumerate(self.down_resnets):
            if level:
                x = self.downsamplers[level - 1](x)  # (B, C, H / 2, W / 2)
            x = resnet(x)
            skips.append(x)
        x = self.mid_resnet(x)  # (B, C2, H / 4, W / 4)
        for level in reversed(range(len(skips))):
            x = self.up_resnets[level](torch.cat([x, skips[level]], dim=1))  # (B, C, H, W)
            if level:
                x = self.upsampler(x)  # (B, C, 2 H, 2 W)
        return self.conv_out(self.activation(self.norm_out(x)))


def case(size: str = "full", batch: int | None = None) -> Case:
    """Two latents of 4 x 32 x 32; "tiny" has two of 4 x 16 x 16 and few channels."""
    config = Config() if size == "full" else TINY
    shape = (batch or config.batch, config.latent_channels, config.side, config.side)
    random = np.random.default_rng(0)
    latent, noise = (torch.from_numpy(random.standard_normal(shape, dtype=np.float32)) for _ in range(2))
    return Case(
        module=UNet(config).eval(),
        inputs={"noisy_latent": latent},  # (B, 4, H, W)
        latency={"noisy_latent": latent[:1].clone()},  # (1, 4, H, W)
        targets={"noise": noise},  # (B, 4, H, W)
        loss=loss,
    )


def loss(predicted: Tensor, noise: Tensor) -> Tensor:
    """Mean squared error: both (B, 4, H, W)."""
    return F.mse_loss(predicted, noise)
