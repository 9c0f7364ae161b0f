"""Is a Llama of MAX's own layers, compiled, quicker than our operator table?"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from benchmarks.fidelity.common import arguments, compiled, prepared, side_by_side, stepping
from max import engine, nn
from max.driver import CPU, Buffer
from max.dtype import DType
from max.graph import DeviceRef, Graph, TensorType, TensorValue, ops

from pytest_inferena import Program
from pytest_inferena.worker.server import Weights

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTH, HEADS, GROUPS, INNER, LAYERS, WORDS, EPS, THETA = 576, 9, 3, 1536, 30, 49152, 1e-5, 100_000.0
F32, HOST = DType.float32, DeviceRef.CPU()


def linear(inputs: int, outputs: int) -> nn.Linear:
    """Weights (outputs, inputs), no bias."""
    return nn.Linear(inputs, outputs, F32, HOST)


class Attention(nn.Module):
    """Causal, with fewer heads for keys than for queries."""

    def __init__(self) -> None:
        super().__init__()
        self.head = WIDTH // HEADS
        self.q_proj, self.o_proj = linear(WIDTH, WIDTH), linear(WIDTH, WIDTH)
        self.k_proj, self.v_proj = linear(WIDTH, GROUPS * self.head), linear(WIDTH, GROUPS * self.head)

    def __call__(self, x: TensorValue, rotate: nn.RotaryEmbedding, mask: TensorValue) -> TensorValue:
        """(1, S, D) → (1, S, D)."""
        length, each = int(x.shape[1]), HEADS // GROUPS
        q = rotate(ops.reshape(self.q_proj(x), [1, length, HEADS, self.head]))
        k = rotate(ops.reshape(self.k_proj(x), [1, length, GROUPS, self.head]))
        v = ops.reshape(self.v_proj(x), [1, length, GROUPS, self.head])
        q, k, v = (ops.transpose(tensor, 1, 2) for tensor in (q, k, v))
        k, v = (ops.repeat_interleave(tensor, each, 1) for tensor in (k, v))
        scores = q @ ops.transpose(k, 2, 3) * math.sqrt(1 / self.head) + mask
        return self.o_proj(ops.reshape(ops.transpose(ops.softmax(scores) @ v, 1, 2), [1, length, WIDTH]))


class Mlp(nn.Module):
    """Gated by SiLU."""

    def __init__(self) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = linear(WIDTH, INNER), linear(WIDTH, INNER)
        self.down_proj = linear(INNER, WIDTH)

    def __call__(self, x: TensorValue) -> TensorValue:
        """(1, S, D) → (1, S, D)."""
        return self.down_proj(ops.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    """One of the transformer's."""

    def __init__(self) -> None:
        super().__init__()
        self.input_layernorm, self.self_attn = nn.RMSNorm(WIDTH, F32, EPS), Attention()
        self.post_attention_layernorm, self.mlp = nn.RMSNorm(WIDTH, F32, EPS), Mlp()

    def __call__(self, x: TensorValue, rotate: nn.RotaryEmbedding, mask: TensorValue) -> TensorValue:
        """(1, S, D) → (1, S, D)."""
        x += self.self_attn(self.input_layernorm(x), rotate, mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class Llama(nn.Module):
    """Tokens (1, S) to logits (1, S, vocabulary); the head is the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(WORDS, WIDTH, F32, HOST)
        self.layers, self.norm = nn.LayerList([Layer() for _ in range(LAYERS)]), nn.RMSNorm(WIDTH, F32, EPS)

    def __call__(self, tokens: TensorValue) -> TensorValue:
        """All positions."""
        length = int(tokens.shape[1])
        mask = ops.constant(np.triu(np.full((length, length), -1e30, np.float32), 1), F32, HOST)
        rotate = nn.RotaryEmbedding(WIDTH, HEADS, THETA, length, interleaved=False)
        x = self.embed_tokens(tokens)
        for layer in self.layers:
            x = layer(x, rotate, mask)
        return self.norm(x) @ ops.transpose(TensorValue(self.embed_tokens.weight), 0, 1)


def by_hand(program: Program) -> Callable[[], Any]:
    """Compiled with the Program's weights, its input bound."""
    weights = Weights(program.folder / "weights.safetensors")
    model = Llama()
    model.load_state_dict({name.removeprefix("model."): weights[name] for name in program.parameters})
    tokens = program.entry("inference").arrays("inputs")["input_ids"]
    with Graph("llama", input_types=[TensorType(DType.int64, tokens.shape, HOST)]) as graph:
        graph.output(model(graph.inputs[0].tensor))
    session = engine.InferenceSession(devices=[CPU()])
    made, given = session.load(graph, weights_registry=model.state_dict()), Buffer.from_numpy(tokens)
    return lambda: made.execute(given)


def main() -> None:
    """SmolLM2, inference, full size only: the constants above are its."""
    options = arguments(__doc__)
    target, ready = prepared("smollm2", "max", "cpu", "full")
    program = Program.read(Path(ready.program))
    step = compiled(target, ready, "inference")
    hand = by_hand(program)
    (result,) = hand()
    step()
    (ours,) = step.outputs().values()
    off = float(np.abs(result.to_numpy() - ours).max())
    print(f"largest difference between the two: {off:.1e}")
    ways = {"Llama of max.nn's layers": hand, "adapter": stepping(step)}
    side_by_side(f"{target.model.title}, inference", ways, options.rounds)


if __name__ == "__main__":
    main()
