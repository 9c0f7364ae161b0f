"""Attention as a Program has it: heads are split, perhaps repeated, and merged again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_inferena.program.checkpoint.match import numbered

if TYPE_CHECKING:
    from pytest_inferena.program.checkpoint.match import Indices, Match
    from pytest_inferena.worker import Node


@dataclass(frozen=True)
class Attention:
    """One `scaled_dot_product_attention` and its sizes."""

    node: Node
    heads: int
    width: int
    """Of a head."""


def merged(m: Match, tensor: str, *, causal: bool) -> Attention:
    """The attention whose heads (B, H, S, D) stand side by side in a tensor (B, S, H · D)."""
    source, places, factor = m.layout(tensor)
    node = m.node(source, "scaled_dot_product_attention")
    batch, heads, length, width = shape = m.shape(source)
    expected = numbered(shape).swapaxes(1, 2).reshape(batch, length, -1)
    is_so = factor == 1 and np.array_equal(expected, places)
    m.hold(is_so, node, f"does not have its heads side by side in {tensor}")
    m.hold(node.arguments["attn_mask"] is None, node, "has a mask of its own")
    keys = m.shape(m.ref(node, "key"))[2]
    m.hold(not causal or keys == length, node, f"has {length} queries and {keys} keys")
    same = node.arguments["is_causal"] == causal or (length, keys) == (1, 1)
    m.hold(same, node, f"is {'not ' * causal}causal")
    return Attention(node, heads, width)


def linear(m: Match, attention: Node, tensor: str, heads: int) -> tuple[Node, int, float]:
    """The `linear` (B, T, G · D) that is split into the heads of a tensor (B, H, T, D); G; the factor it is scaled by.

    Where G is smaller than H, each head is repeated.
    """
    name, places, factor = m.layout(tensor)
    node = m.node(name, "linear")
    batch, _, length, width = m.shape(tensor)
    total = m.shape(name)[-1]
    groups = total // width
    m.hold(groups * width == total and heads % groups == 0, node, f"makes no heads of {width}")
    split = numbered((batch, length, groups, width)).swapaxes(1, 2)
    m.hold(repeats(split, places), attention, f"reads {tensor}, which is not {name} split into heads")
    return node, groups, factor


def repeats(heads: Indices, places: Indices) -> bool:
    """Whether places (B, H, T, D) are those of heads (B, G, T, D), with each head repeated H / G times."""
    return np.array_equal(np.repeat(heads, places.shape[1] // heads.shape[1], axis=1), places)
