"""SmolVLA's action expert: a chunk of noisy actions becomes the direction to denoise them in.

The transformer that SmolVLA (https://huggingface.co/lerobot/smolvla_base) puts beside its vision-language model,
in the form and size that Inference Arena (github kvark/inferena) benchmarks: layers attend in turn to the actions
themselves and to a projected context of the vision-language model. No checkpoint of this form is published.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytest_inferena import Case

TITLE = "SmolVLA (action expert)"
UNIT = "action"
ITEMS = 50
PARAMETERS = 101_607_120
SEEDED = True
ARENA = "SmolVLA"


@dataclass(frozen=True)
class Config:
    """The sizes that are benchmarked."""

    layers: int = 16
    width: int = 720  # D
    heads: int = 15  # H
    kv_heads: int = 5  # G
    head_width: int = 64  # d; H * d is not D
    hidden: int = 2048
    action_width: int = 32  # A
    actions: int = ITEMS  # T
    context_width: int = 320  # C
    context_tokens: int = 16  # S


TINY = Config(4, 48, 6, 2, 16, 128, action_width=8, actions=10, context_width=32, context_tokens=6)


class Attention(nn.Module):
    """Attention with fewer heads for keys and values; nothing is masked."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        queries, keys = config.heads * config.head_width, config.kv_heads * config.head_width
        self.head_width = config.head_width
        self.q_proj = nn.Linear(config.width, queries, bias=False)
        self.k_proj = nn.Linear(config.width, keys, bias=False)
        self.v_proj = nn.Linear(config.width, keys, bias=False)
        self.o_proj = nn.Linear(queries, config.width, bias=False)

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        """From x (B, T, D) to source (B, S, D), which is x itself or the context."""
        q = self.q_proj(x).unflatten(2, (-1, self.head_width)).transpose(1, 2)  # (B, H, T, d)
        k = self.k_proj(source).unflatten(2, (-1, self.head_width)).transpose(1, 2)  # (B, G, S, d)
        v = self.v_proj(source).unflatten(2, (-1, self.head_width)).transpose(1, 2)  # (B, G, S, d)
        y = F.scaled_dot_product_attention(q, k, v, enable_gqa=True)  # (B, H, T, d)
        return self.o_proj(y.transpose(1, 2).flatten(2))  # (B, T, D)


class MLP(nn.Module):
    """SwiGLU."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.width, config.hidden, bias=False)
        self.up_proj = nn.Linear(config.width, config.hidden, bias=False)
        self.down_proj = nn.Linear(config.hidden, config.width, bias=False)
        self.activation = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        return self.down_proj(self.activation(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    """Attention and MLP, each behind a norm and added to the stream."""

    def __init__(self, config: Config, *, crosses: bool) -> None:
        super().__init__()
        self.crosses = crosses
        self.attention_norm = nn.RMSNorm(config.width, eps=1e-5)
        self.attention = Attention(config)
        self.mlp_norm = nn.RMSNorm(config.width, eps=1e-5)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """X (B, T, D) and context (B, S, D), whose projection is not normalised."""
        normed = self.attention_norm(x)  # (B, T, D)
        x = x + self.attention(normed, context if self.crosses else normed)
        return x + self.mlp(self.mlp_norm(x))


class ActionExpert(nn.Module):
    """Even layers attend to the actions, odd ones to the context."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.action_proj = nn.Linear(config.action_width, config.width, bias=False)
        self.time_proj = nn.Linear(2 * config.width, config.width, bias=False)
        self.context_proj = nn.Linear(config.context_width, config.width, bias=False)
        self.layers = nn.ModuleList([Layer(config, crosses=bool(i % 2)) for i in range(config.layers)])
        self.norm = nn.RMSNorm(config.width, eps=1e-5)
        self.head = nn.Linear(config.width, config.action_width, bias=False)

    def forward(self, noisy_actions: Tensor, timestep: Tensor, context: Tensor) -> Tensor:
        """noisy_actions (B, T, A), timestep (B, 1, 2 D), embedded already, context (B, S, C) to (B, T, A)."""
        x = self.action_proj(noisy_actions) + self.time_proj(timestep)  # (B, T, D)
        context = self.context_proj(context)  # (B, S, D)
        for layer in self.layers:
            x = layer(x, context)
        return self.head(self.norm(x))


def case(size: str = "full") -> Case:
    """A chunk of 50 actions in a context of 16 tokens; "tiny" has 4 narrow layers, 10 actions and 6 tokens."""
    config = Config() if size == "full" else TINY
    random = np.random.default_rng(0)

    def normal(*shape: int) -> Tensor:
        return torch.from_numpy(random.standard_normal((1, *shape), dtype=np.float32))

    inputs = {
        "noisy_actions": normal(config.actions, config.action_width),  # (1, T, A)
        "timestep": embedded_time(0.3, config.width),  # (1, 1, 2 D)
        "context": normal(config.context_tokens, config.context_width),  # (1, S, C)
    }
    return Case(
        module=ActionExpert(config).eval(),
        inputs=inputs,
        latency=inputs | {"noisy_actions": inputs["noisy_actions"][:, :1].clone()},  # (1, 1, A)
        targets={"target": normal(config.actions, config.action_width)},  # (1, T, A)
        loss=loss,
    )


def loss(actions: Tensor, target: Tensor) -> Tensor:
    """Mean squared error: both (B, T, A)."""
    return F.mse_loss(actions, target)


def embedded_time(time: float, pairs: int) -> Tensor:
    """Sines and cosines of a time in [0, 1] at periods from 4 ms to 4 s, as SmolVLA embeds it, (1, 1, 2 pairs)."""
    periods = np.geomspace(4e-3, 4.0, pairs)
    angles = 2 * np.pi * time / periods
    embedded = np.concatenate([np.sin(angles), np.cos(angles)]).astype(np.float32)
    return torch.from_numpy(embedded)[None, None]
