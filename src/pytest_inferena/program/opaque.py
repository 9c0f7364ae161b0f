"""Operators of the Program that ATen lacks, or takes apart before they can be seen: tracing leaves these whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

LIBRARY = torch.library.Library("inferena", "FRAGMENT")


def whole(
    schema: str, function: Callable[..., Any], meta: Callable[..., Any] = lambda x, *_: torch.empty_like(x)
) -> Any:
    """An operator; `meta` makes results of its shapes, by default one like the first argument."""
    name = schema.partition("(")[0]
    LIBRARY.define(schema)
    LIBRARY.impl(name, function, "CompositeExplicitAutograd")
    LIBRARY.impl(name, meta, "Meta")
    return getattr(torch.ops.inferena, name).default
