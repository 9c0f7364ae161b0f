"""Tests of fusion: what is recognised, and what is only almost the same and therefore left alone."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.programs import captured, gradients, inference, operators_behind, run
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_inferena.worker.format import Entry

    Function = Callable[["Given"], Tensor]

ANGLES = torch.arange(12.0).reshape(4, 3)  # (S, D / 2)
COS, SIN = (torch.cat([table, table], -1)[None, None] for table in (ANGLES.cos(), ANGLES.sin()))  # (1, 1, S, D)
UNEQUAL = torch.arange(24.0).reshape(1, 1, 4, 6).cos()
TRIANGLE = torch.ones(4, 4, dtype=torch.bool).tril()
HOLE = TRIANGLE & ~(torch.arange(16).reshape(4, 4) == 8)
TWICE = torch.stack([TRIANGLE, HOLE])[:, None]  # (2, 1, S, T): of two sequences only one is causal


class Given(NamedTuple):
    """A square x and another, its weight, queries (2, 4, S, D), keys and values (2, 2, S, D)."""

    w: Tensor
    x: Tensor
    y: Tensor
    q: Tensor
    k: Tensor
    v: Tensor


class Parts(nn.Module):
    """Functions side by side, so that one export serves them all."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.linspace(0.5, 2, 4))

    def forward(self, x: Tensor, y: Tensor, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, ...]:
        """Every function's result."""
        return tuple(function(Given(self.w, x, y, q, k, v)) for function in ALL.values())


def root(x: Tensor, dim: int = -1, power: int = 2, eps: float = 1e-5) -> Tensor:
    """1 / √(mean x² + ε)."""
    return torch.rsqrt(x.pow(power).mean(dim, keepdim=True) + eps)


def turned(x: Tensor, at: int = 3) -> Tensor:
    """Rotate half."""
    return torch.cat([-x[..., at:], x[..., :at]], -1)


def repeated(x: Tensor, times: int = 2) -> Tensor:
    """Every head as often as told, side by side."""
    batch, heads, length, width = x.shape
    return x[:, :, None].expand(batch, heads, times, length, width).reshape(batch, heads * times, length, width)


def tiled(x: Tensor) -> Tensor:
    """All heads, then all heads again."""
    batch, heads, length, width = x.shape
    return x[:, None].expand(batch, 2, heads, length, width).reshape(batch, heads * 2, length, width)


def attend(a: Given, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attention of the queries."""
    return F.scaled_dot_product_attention(a.q, k, v, attn_mask=mask)


FUSED: dict[str, tuple[Function, str]] = {
    "norm": (lambda a: a.w * (a.x * root(a.x)), "rms_norm"),
    "norm, operands exchanged": (lambda a: (root(a.x) * a.x) * a.w, "rms_norm"),
    "rotary": (lambda a: a.q * COS + turned(a.q) * SIN, "rotary_embedding"),
    "rotary, operands exchanged": (lambda a: turned(a.q) * SIN + a.q * COS, "rotary_embedding"),
    "grouped": (lambda a: attend(a, repeated(a.k), repeated(a.v)), "scaled_dot_product_attention"),
    "causal": (lambda a: attend(a, a.q, a.q, TRIANGLE), "scaled_dot_product_attention"),
    "all allowed": (lambda a: attend(a, a.q, a.q, torch.ones(4, 4).bool()), "scaled_dot_product_attention"),
}
NEAR: dict[str, tuple[Function, str]] = {
    "eps after the root": (lambda a: a.w * (a.x * (torch.rsqrt(a.x.pow(2).mean(-1, keepdim=True)) + 1e-5)), "rms_norm"),
    "eps in the square": (lambda a: a.w * (a.x * torch.rsqrt((a.x + 1e-5).pow(2).mean(-1, keepdim=True))), "rms_norm"),
    "another dimension": (lambda a: a.w * (a.x * root(a.x, dim=1)), "rms_norm"),
    "two dimensions": (lambda a: a.w * (a.x * torch.rsqrt(a.x.pow(2).mean((1, 2), keepdim=True) + 1e-5)), "rms_norm"),
    "dimension not kept": (lambda a: a.w * (a.x * torch.rsqrt(a.x[0].pow(2).mean(-1) + 1e-5)), "rms_norm"),
    "another power": (lambda a: a.w * (a.x * root(a.x, power=4)), "rms_norm"),
    "another tensor's root": (lambda a: a.w * (a.x * root(a.y)), "rms_norm"),
    "weight along rows": (lambda a: a.w[:, None] * (a.x * root(a.x)), "rms_norm"),
    "eps a tensor": (lambda a: a.w * (a.x * torch.rsqrt(a.x.pow(2).mean(-1, keepdim=True) + a.w.abs())), "rms_norm"),
    "halves of cos differ": (lambda a: a.q * UNEQUAL + turned(a.q) * SIN, "rotary_embedding"),
    "halves of sin differ": (lambda a: a.q * COS + turned(a.q) * UNEQUAL, "rotary_embedding"),
    "turned the other way": (lambda a: a.q * COS - turned(a.q) * SIN, "rotary_embedding"),
    "sign in the other half": (
        lambda a: a.q * COS + torch.cat([a.q[..., 3:], -a.q[..., :3]], -1) * SIN,
        "rotary_embedding",
    ),
    "cut elsewhere": (lambda a: a.q * COS + turned(a.q, at=2) * SIN, "rotary_embedding"),
    "another tensor turned": (lambda a: a.q * COS + turned(a.q * 2) * SIN, "rotary_embedding"),
    "one position for all": (lambda a: a.q * COS[:, :, 1:2] + turned(a.q) * SIN[:, :, 1:2], "rotary_embedding"),
    "a table for each head": (
        lambda a: a.q * torch.cat([COS, COS, SIN, SIN], 1) + turned(a.q) * SIN,
        "rotary_embedding",
    ),
    "neighbours turned": (
        lambda a: a.q * COS + torch.stack([-a.q[..., 1::2], a.q[..., ::2]], -1).flatten(-2) * SIN,
        "rotary_embedding",
    ),
}
HEADS: dict[str, Function] = {
    "tiled": lambda a: attend(a, tiled(a.k), tiled(a.v)),
    "only keys repeated": lambda a: attend(a, repeated(a.k), a.q),
    "keys and values of unlike heads": lambda a: attend(a, repeated(a.k), repeated(a.v[:, :1], 4)),
    "triangle the other way": lambda a: attend(a, a.q, a.q, TRIANGLE.mT),
    "triangle with a hole": lambda a: attend(a, a.q, a.q, HOLE),
    "triangle of one sequence": lambda a: attend(a, a.q, a.q, TWICE),
    "triangle not square": lambda a: attend(a, a.q[:, :, :3], a.q[:, :, :3], TRIANGLE[:, :3]),
    "triangle of floats": lambda a: attend(a, a.q, a.q, TRIANGLE.float()),
}
ALL = {name: function for name, (function, _) in (FUSED | NEAR).items()} | HEADS


@functools.cache
def results() -> tuple[Entry, dict[str, Tensor], dict[str, Tensor]]:
    """The entry of all functions, what it computes, and what they do."""
    torch.set_num_threads(1)
    draw = torch.Generator().manual_seed(1)
    shapes = {"x": (2, 4, 4), "y": (2, 4, 4), "q": (2, 4, 4, 6), "k": (2, 2, 4, 6), "v": (2, 2, 4, 6)}
    inputs = {name: torch.randn(shape, generator=draw) for name, shape in shapes.items()}
    module = Parts()
    right = dict(zip(ALL, module(**inputs), strict=True))
    entry = captured(module, inputs, *ALL)
    return entry, run(entry, module, inputs), right


def attention(name: str) -> dict[str, object]:
    """Arguments of the attention that makes an output."""
    entry, _, _ = results()
    node = next(node for node in entry.nodes if node.name == entry.outputs[name])
    return {name: node.arguments[name] for name in ("is_causal", "enable_gqa")} | {
        "mask": node.arguments["attn_mask"] is not None
    }


@pytest.mark.parametrize("name", ALL)
def test_value_stays(name: str) -> None:
    """Fused or not, the same is computed."""
    _, found, right = results()

    torch.testing.assert_close(found[name], right[name], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", FUSED)
def test_pattern_is_one_operator(name: str) -> None:
    """Nothing but the operator is left."""
    assert FUSED[name][1] == operators_behind(results()[0], name)


@pytest.mark.parametrize("name", NEAR)
def test_near_miss_is_left_alone(name: str) -> None:
    """What only looks alike is not fused."""
    operators = operators_behind(results()[0], name).split()

    assert len(operators) > 2
    assert NEAR[name][1] not in operators


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("grouped", {"is_causal": False, "enable_gqa": True, "mask": False}),
        ("causal", {"is_causal": True, "enable_gqa": False, "mask": False}),
        ("all allowed", {"is_causal": False, "enable_gqa": False, "mask": False}),
        *((name, {"is_causal": False, "enable_gqa": False, "mask": "triangle" in name}) for name in HEADS),
    ],
)
def test_attention(name: str, expected: dict[str, object]) -> None:
    """Only repeated heads are grouped, and only a triangle is causal."""
    assert expected == attention(name)


def test_llama_is_fused() -> None:
    """Three norms, queries and keys turned, one grouped causal attention, and tables of half the head's width."""
    entry = inference("llama")
    nodes = {name: [n for n in entry.nodes if n.operator == name] for name in ("rms_norm", "rotary_embedding")}
    (attends,) = (n for n in entry.nodes if n.operator == "scaled_dot_product_attention")

    assert {"rms_norm": 3, "rotary_embedding": 2} == {name: len(found) for name, found in nodes.items()}
    assert (True, True, None) == tuple(attends.arguments[key] for key in ("is_causal", "enable_gqa", "attn_mask"))
    assert {(6, 4)} == {array.shape for array in entry.arrays("constants").values()}
    assert {np.dtype("float32")} == {array.dtype for array in entry.arrays("constants").values()}


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_gradient_of_a_tied_embedding_is_added_in_place(name: str) -> None:
    """Its rows are added to the gradient of the head, not to zeros that are added afterwards."""
    entry = gradients(name)
    table = "grad:model.embed_tokens.weight" if name == "llama" else "grad:transformer.wte.weight"
    made = next(node for node in entry.nodes if node.name == entry.outputs[table])
    base = next(node for node in entry.nodes if node.name == made.arguments["self"].name)

    assert "index_put" == made.operator
    assert "full" != base.operator
