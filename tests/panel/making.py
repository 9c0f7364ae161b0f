"""Rows of the tables: what a library calls a model, and how small it is. `makers` makes it, when it is asked for."""

from __future__ import annotations

import importlib
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

TEXT = {
    "vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 8, "intermediate_size": 64, "max_position_embeddings": 34,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
"""Of encoders and decoders of text. A configuration keeps what its model does not know, and nobody reads it."""
PICTURE = {
    "image_size": 32, "patch_size": 8, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 64,
}  # fmt: skip
"""Of transformers that see pictures."""


def transformers(name: str, /, *common: Mapping[str, Any], **config: Any) -> partial[Any]:
    """A class of transformers, by its configuration, which says the inputs too."""
    merged = {key: value for each in (*common, config) for key, value in each.items()}
    return partial(_made, "transformers", name, merged)


def timm(name: str, /, *, side: int = 64, **config: Any) -> partial[Any]:
    """A name in timm, on pictures of a size."""
    return partial(_made, "timm", name, config, (2, 3, side, side))


def torchvision(name: str, /, *shape: int, **config: Any) -> partial[Any]:
    """A name in torchvision.models, on pictures or films of a shape."""
    return partial(_made, "torchvision", name, config, shape)


def diffusers(name: str, config: Mapping[str, Any], /, **inputs: Any) -> partial[Any]:
    """A class of diffusers, by its configuration: inputs are shapes, as tuples, or lists of numbers."""
    return partial(_made, "diffusers", name, config, inputs)


def layers(*described: tuple[Any, ...], inputs: tuple[Any, ...]) -> partial[Any]:
    """Layers of torch.nn, one after the other: (name, argument, …, {keyword: argument}); inputs are as above."""
    return partial(_made, "layers", described, inputs)


def _made(maker: str, /, *arguments: Any) -> Any:
    return getattr(importlib.import_module("tests.panel.makers"), maker)(*arguments)
