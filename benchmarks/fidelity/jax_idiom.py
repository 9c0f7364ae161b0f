"""Is a Llama written by hand for JAX, jitted, faster than our operator table?"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from benchmarks.fidelity.common import arguments, compiled, prepared, side_by_side, stepping

from pytest_inferena import Program
from pytest_inferena.worker.server import Weights

HEADS, GROUPS, EPS, THETA = 9, 3, 1e-5, 100_000.0
Parameters = dict[str, jax.Array]


def rms_norm(x: jax.Array, weight: jax.Array) -> jax.Array:
    """(S, D) → (S, D)."""
    return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + EPS) * weight


def rotate(x: jax.Array) -> jax.Array:
    """Rotary embedding of (S, H, D) by position."""
    half = x.shape[-1] // 2
    angles = jnp.arange(x.shape[0])[:, None] * THETA ** (-jnp.arange(half) / half)[None, :]
    cos, sin = jnp.cos(angles)[:, None], jnp.sin(angles)[:, None]
    first, second = x[..., :half], x[..., half:]
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], -1)


def layer(x: jax.Array, p: Parameters, at: str) -> jax.Array:
    """One transformer layer, (S, D) → (S, D)."""
    length = x.shape[0]
    h = rms_norm(x, p[f"{at}.input_layernorm.weight"])
    q, k, v = (
        (h @ p[f"{at}.self_attn.{name}_proj.weight"].T).reshape(length, heads, -1)
        for name, heads in (("q", HEADS), ("k", GROUPS), ("v", GROUPS))
    )
    attended = jax.nn.dot_product_attention(rotate(q)[None], rotate(k)[None], v[None], is_causal=True)[0]
    x = x + attended.reshape(length, -1) @ p[f"{at}.self_attn.o_proj.weight"].T
    h = rms_norm(x, p[f"{at}.post_attention_layernorm.weight"])
    gate, up = h @ p[f"{at}.mlp.gate_proj.weight"].T, h @ p[f"{at}.mlp.up_proj.weight"].T
    return x + (jax.nn.silu(gate) * up) @ p[f"{at}.mlp.down_proj.weight"].T


def logits(p: Parameters, tokens: jax.Array) -> jax.Array:
    """Tokens (S,) to logits (S, vocabulary); the head is the embedding."""
    x = p["model.embed_tokens.weight"][tokens]
    for index in range(sum(name.endswith("input_layernorm.weight") for name in p)):
        x = layer(x, p, f"model.layers.{index}")
    return rms_norm(x, p["model.norm.weight"]) @ p["model.embed_tokens.weight"].T


def loss(p: Parameters, tokens: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean cross-entropy."""
    scores = logits(p, tokens)
    return (jax.nn.logsumexp(scores, -1) - jnp.take_along_axis(scores, labels[:, None], 1)[:, 0]).mean()


def main() -> None:
    """SmolLM2, inference and training, full size only: the constants above are its."""
    options = arguments(__doc__)
    target, ready = prepared("smollm2", "jax", "xla", "full")
    program = Program.read(ready.program)
    weights = Weights(ready.program / "weights.safetensors")
    p = {name: jnp.asarray(weights[name]) for name in program.parameters}
    arrays = program.entry("training").arrays("inputs")
    tokens, labels = jnp.asarray(arrays["input_ids"][0]), jnp.asarray(arrays["labels"]).reshape(-1)
    forward, backward = jax.jit(logits), jax.jit(jax.value_and_grad(loss))
    by_hand: dict[str, Any] = {
        "inference": lambda: jax.block_until_ready(forward(p, tokens)),
        "training": lambda: jax.block_until_ready(backward(p, tokens, labels)),
    }
    for metric, hand in by_hand.items():
        ways = {"adapter": stepping(compiled(target, ready, metric)), "jitted Llama by hand": hand}
        side_by_side(f"{target.model.title}, {metric}", ways, options.rounds)


if __name__ == "__main__":
    main()
