"""An encoder and a decoder like those of WhisperForConditionalGeneration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_inferena.program.checkpoint.attention import linear, merged
from pytest_inferena.program.checkpoint.match import Affine, Match

if TYPE_CHECKING:
    from pytest_inferena.worker import Entry

STRIDES = (1, 2)
"""The strides of the two convolutions over the spectrogram."""


@dataclass(frozen=True)
class Norm:
    """Names of a LayerNorm's weight and bias."""

    weight: str
    bias: str


@dataclass(frozen=True)
class Attention:
    """Names of the weights of one attention and of the norm before it."""

    norm: Norm
    query: Affine
    key: Affine
    value: Affine
    output: Affine


@dataclass(frozen=True)
class Layer:
    """One layer; an encoder's has no cross-attention."""

    attention: Attention
    cross: Attention | None
    norm: Norm
    up: Affine
    down: Affine


@dataclass(frozen=True)
class Stack:
    """A stack of layers, with the positions before it and the norm after it."""

    positions: str
    layers: tuple[Layer, ...]
    norm: Norm
    heads: int


@dataclass(frozen=True)
class Whisper:
    """The names of a Whisper's weights; the head may be the embedding."""

    features: str
    """The input with the spectrogram."""
    tokens: str
    """The input with the token ids."""
    convolutions: tuple[Affine, Affine]
    encoder: Stack
    decoder: Stack
    embedding: str
    head: str
    epsilon: float


def whisper(entry: Entry) -> Whisper:
    """Recognise an entry from a spectrogram (B, M, F) and token ids (B, T) to logits (B, T, vocabulary).

    Raises:
        Unsupported: it is something else; the message names the first node that differs.
    """
    return _Matcher(entry).whisper()


class _Matcher(Match):
    """Notes what all layers share when it is met first, and compares it from then on."""

    def __init__(self, entry: Entry) -> None:
        super().__init__(entry, "Whisper")
        self.epsilon: float | None = None
        self.memory: str | None = None

    def whisper(self) -> Whisper:
        [result] = self.entry.outputs.values()
        head = self.node(result, "linear")
        self.hold(head.arguments["bias"] is None, head, "has a bias")
        decoder, x = self.stack(self.ref(head, "input"), decoder=True)
        embedding = self.node(x, "embedding")
        tokens = self.ref(embedding, "indices")
        self.hold(tokens in (inputs := [spec.name for spec in self.entry.inputs]), embedding, "does not read an input")
        if self.memory is None:
            raise self.refusal("its decoder has no layers")
        encoder, x = self.stack(self.memory, decoder=False)
        *convolutions, features = self.front(x)
        if {features, tokens} != set(inputs) or self.epsilon is None:
            raise self.refusal(f"its inputs are {', '.join(inputs)}")
        return Whisper(
            features=features, tokens=tokens, convolutions=(convolutions[0], convolutions[1]),
            encoder=encoder, decoder=decoder, embedding=self.parameter(embedding, "weight"),
            head=self.parameter(head, "weight"), epsilon=self.epsilon,
        )  # fmt: skip

    def front(self, tensor: str) -> tuple[Affine, Affine, str]:
        """The two convolutions, and the input that they read."""
        node = self.node(tensor, "permute")
        self.hold(node.arguments["dims"] == [0, 2, 1], node, "does not put time before channels")
        tensor = self.ref(node, "self")
        found: list[Affine] = []
        for stride in reversed(STRIDES):
            node = self.node(self.activation(tensor), "conv1d")
            settings = {"stride": [stride], "padding": [1], "dilation": [1], "groups": 1}
            found.insert(0, self.affine(node))
            is_so = all(node.arguments[name] == value for name, value in settings.items())
            self.hold(is_so and self.shape(found[0].weight)[2] == 3, node, f"is not of size 3 and stride {stride}")
            tensor = self.ref(node, "input")
        return found[0], found[1], tensor

    def stack(self, tensor: str, *, decoder: bool) -> tuple[Stack, str]:
        """Layers from their last norm back to the positions, and what those are added to."""
        norm, x = self.norm(tensor)
        layers: list[Layer] = []
        heads: set[int] = set()
        while (found := self.layer(x, decoder=decoder)) is not None:
            layer, counts, x = found
            layers.insert(0, layer)
            heads |= counts
        if len(heads) != 1:
            raise self.refusal(f"{tensor} is not made by layers with the same number of heads: {sorted(heads)}")
        positions, x = self.positions(x)
        return Stack(positions, tuple(layers), norm, heads.pop()), x

    def layer(self, tensor: str, *, decoder: bool) -> tuple[Layer, set[int], str] | None:
        """The layer that makes a tensor, its numbers of heads, and what it is applied to."""
        node = self.node(tensor, "add")
        if not any(self.made[name].operator == "linear" for name in node.inputs() if name in self.made):
            return None
        branch, x = self.either(tensor, "add", "linear")
        down = self.node(branch, "linear")
        up = self.node(self.activation(self.ref(down, "input")), "linear")
        norm, y = self.norm(self.ref(up, "input"))
        self.hold(x == y, node, "does not add a feed-forward network to its input")
        cross, heads = None, set()
        if decoder:
            cross, count, x = self.attention(x, cross=True)
            heads.add(count)
        attention, count, x = self.attention(x, cross=False, causal=decoder)
        return Layer(attention, cross, norm, self.affine(up), self.affine(down)), heads | {count}, x

    def attention(self, tensor: str, *, cross: bool, causal: bool = False) -> tuple[Attention, int, str]:
        """The attention whose result is added to make a tensor, its number of heads, and what it is applied to."""
        branch, x = self.either(tensor, "add", "linear")
        output = self.node(branch, "linear")
        a = merged(self, self.ref(output, "input"), causal=causal)
        names = [self.ref(a.node, name) for name in ("query", "key", "value")]
        made = [linear(self, a.node, name, a.heads) for name in names]
        self.hold({groups for _, groups, _ in made} == {a.heads}, a.node, "has fewer heads of keys or values")
        scale = a.node.arguments["scale"] * made[0][2] * made[1][2]
        is_so = abs(scale * a.width**0.5 - 1) < 1e-6 and made[2][2] == 1
        self.hold(is_so, a.node, f"has scale {scale}, not 1 / √{a.width}, or scaled values")
        sources = [self.ref(node, "input") for node, *_ in made]
        norm, y = self.norm(sources[0])
        self.hold(x == y, a.node, "is not added to its input")
        read = sources[0]
        if cross:
            read = self.memory = self.memory or sources[1]
        self.hold(sources[1:] == [read, read], a.node, f"has keys and values of other tensors than {read}")
        query, key, value = (self.affine(node) for node, *_ in made)
        return Attention(norm, query, key, value, self.affine(output)), a.heads, x

    def activation(self, tensor: str) -> str:
        """The tensor that GELU is applied to."""
        node = self.node(tensor, "gelu")
        self.hold(node.arguments["approximate"] == "none", node, "is approximate")
        return self.ref(node, "self")

    def norm(self, tensor: str) -> tuple[Norm, str]:
        """A norm's weights, and what it is applied to."""
        node = self.node(tensor, "layer_norm")
        self.epsilon = self.epsilon or node.arguments["eps"]
        self.hold(node.arguments["eps"] == self.epsilon, node, f"has an eps that is not {self.epsilon}")
        is_so = len(node.arguments["normalized_shape"]) == 1 and None not in node.arguments.values()
        self.hold(is_so, node, "is over several dimensions, or lacks weight or bias")
        return Norm(self.parameter(node, "weight"), self.parameter(node, "bias")), self.ref(node, "input")

    def positions(self, tensor: str) -> tuple[str, str]:
        """The table of positions whose first rows are added, and what they are added to."""
        node = self.node(tensor, "add")
        for name, x in (list(node.inputs()), list(node.inputs())[::-1]):
            table = self.made.get(name)
            if table is not None and table.operator == "embedding":
                indices = self.entry.arrays("constants").get(self.ref(table, "indices"))
                if indices is not None:
                    self.hold((indices == np.arange(indices.shape[-1])).all(), table, "is not of positions 0, 1, …")
                    return self.parameter(table, "weight"), x
        raise self.refusal(f"node {node.name} does not add rows of a table of positions")
