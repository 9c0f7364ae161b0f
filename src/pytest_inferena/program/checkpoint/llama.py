"""A decoder like LlamaForCausalLM: RMSNorm, rotary attention with grouped heads, and a gated SiLU network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_inferena.program.checkpoint.attention import linear, merged, repeats
from pytest_inferena.program.checkpoint.match import Match, numbered

if TYPE_CHECKING:
    from pytest_inferena.worker import Entry, Node

DIGITS = 5
"""So many digits of its base can be read from a rotary table in float32."""


@dataclass(frozen=True)
class Layer:
    """Names of one layer's weights."""

    attention_norm: str
    query: str
    key: str
    value: str
    output: str
    feed_forward_norm: str
    gate: str
    up: str
    down: str


@dataclass(frozen=True)
class Llama:
    """Sizes of a Llama and the names of its weights; the head may be the embedding."""

    vocabulary: int
    width: int
    feed_forward: int
    heads: int
    groups: int
    """Heads of keys and values."""
    head_width: int
    epsilon: float
    rope_base: float | None
    """None if the entry has one position only: it is not rotated."""
    embedding: str
    layers: tuple[Layer, ...]
    norm: str
    head: str


def llama(entry: Entry) -> Llama:
    """Recognise an entry from token ids (B, T) to logits (B, T, vocabulary).

    Raises:
        Unsupported: it is something else; the message names the first node that differs.
    """
    return _Matcher(entry).llama()


class _Matcher(Match):
    """Notes what all layers share when it is met first, and compares it from then on."""

    def __init__(self, entry: Entry) -> None:
        super().__init__(entry, "Llama")
        self.same: dict[str, Any] = {}

    def llama(self) -> Llama:
        [result] = self.entry.outputs.values()
        head, x = self.linear(result)
        norm, x = self.norm(x)
        layers: list[Layer] = []
        while self.made.get(x) is not None and self.made[x].operator == "add":
            layer, x = self.layer(x)
            layers.insert(0, layer)
        embedding = self.node(x, "embedding")
        tokens = self.ref(embedding, "indices")
        self.hold([tokens] == [spec.name for spec in self.entry.inputs], embedding, "does not read the only input")
        vocabulary, width = self.shape(self.parameter(embedding, "weight"))
        if not layers:
            raise self.refusal("it has no layers")
        return Llama(
            vocabulary=vocabulary, width=width, embedding=self.parameter(embedding, "weight"),
            layers=tuple(layers), norm=norm, head=head, **self.same,
        )  # fmt: skip

    def agree(self, node: Node, **facts: Any) -> None:
        for name, value in facts.items():
            known = self.same.setdefault(name, value)
            self.hold(known == value, node, f"has {name} {value}, others have {known}")

    def linear(self, tensor: str) -> tuple[str, str]:
        """The weight, and what it is applied to."""
        node = self.node(tensor, "linear")
        self.hold(node.arguments["bias"] is None, node, "has a bias")
        return self.parameter(node, "weight"), self.ref(node, "input")

    def norm(self, tensor: str) -> tuple[str, str]:
        node = self.node(tensor, "rms_norm")
        self.hold(len(node.arguments["normalized_shape"]) == 1, node, "is over several dimensions")
        self.agree(node, epsilon=node.arguments["eps"])
        return self.parameter(node, "weight"), self.ref(node, "input")

    def layer(self, tensor: str) -> tuple[Layer, str]:
        """The layer that makes a tensor, and what it is applied to."""
        branch, middle = self.either(tensor, "add", "linear")
        down, product = self.linear(branch)
        activated, raised = self.either(product, "mul", "silu")
        gate, x = self.linear(self.ref(self.made[activated], "self"))
        up, y = self.linear(raised)
        self.hold(x == y, self.made[raised], "has another input than the gate")
        feed_forward_norm, x = self.norm(x)
        self.hold(x == middle, self.made[tensor], "does not add a feed-forward network to its input")
        self.agree(self.made[raised], feed_forward=self.shape(raised)[-1])
        branch, before = self.either(middle, "add", "linear")
        output, y = self.linear(branch)
        (query, key, value), x = self.attention(y)
        attention_norm, x = self.norm(x)
        self.hold(x == before, self.made[middle], "does not add attention to its input")
        return Layer(attention_norm, query, key, value, output, feed_forward_norm, gate, up, down), before

    def attention(self, tensor: str) -> tuple[tuple[str, ...], str]:
        """Weights of query, key and value, and what they are applied to."""
        a = merged(self, tensor, causal=True)
        scale = a.node.arguments["scale"]
        self.hold(abs(scale * a.width**0.5 - 1) < 1e-6, a.node, f"has scale {scale}, not 1 / √{a.width}")
        query = self.rotated(self.ref(a.node, "query"), a.node)
        key = self.rotated(self.ref(a.node, "key"), a.node)
        made = [linear(self, a.node, name, a.heads) for name in (query, key, self.ref(a.node, "value"))]
        groups = [count for _, count, _ in made]
        self.hold(all(factor == 1 for *_, factor in made), a.node, "has a scaled query, key or value")
        self.hold(groups == [a.heads, groups[1], groups[1]], a.node, f"has {groups} heads of query, key and value")
        self.agree(a.node, heads=a.heads, groups=groups[1], head_width=a.width)
        weights, sources = zip(*(self.linear(node.name) for node, *_ in made), strict=True)
        self.hold(len(set(sources)) == 1, a.node, "reads different tensors")
        return weights, sources[0]

    def rotated(self, tensor: str, attention: Node) -> str:
        """The tensor that is rotated, before its heads are repeated."""
        name, places, factor = self.layout(tensor)
        node = self.node(name, "rotary_embedding")
        is_so = factor == 1 and repeats(numbered(self.shape(name)), places)
        self.hold(is_so, attention, f"reads {tensor}, which is not {name} head by head")
        tables, constants = [self.ref(node, table) for table in ("cos", "sin")], self.entry.arrays("constants")
        self.hold(set(tables) <= set(constants), node, "has tables that are not constant")
        base = rope_base(*(constants[table] for table in tables))
        self.hold(base != 0, node, "has tables that are not of angles p · base^(-2i / d)")
        self.agree(node, rope_base=base)
        return self.ref(node, "self")


def rope_base(cos: np.ndarray[Any, Any], sin: np.ndarray[Any, Any]) -> float | None:
    """The base of rotary tables (S, D / 2) of positions 0, 1, …; None if 0 is the only one; 0 if they are no tables."""
    positions, half = cos.shape
    steps = np.arange(half)
    guess = 1.0
    if positions > 1 and half > 1:  # position 1 is turned by base^(-i / half)
        last = np.arctan2(np.float64(sin[1, -1]), np.float64(cos[1, -1]))
        guess = float(last) ** (-half / (half - 1)) if last > 0 else 1.0
    for base in (float(f"{guess:.{DIGITS}g}"), guess):
        angles = np.arange(positions)[:, None] * base ** (-steps / half)
        error = max(np.abs(np.cos(angles) - cos).max(), np.abs(np.sin(angles) - sin).max())
        if error < 1e-6 + 2e-7 * positions:  # the tables were made in float32, from angles up to the position
            return None if guess == 1.0 else base
    return 0.0
