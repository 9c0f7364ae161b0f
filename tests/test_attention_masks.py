"""Masks of attention as people write them: for all queries alike, and with queries that may attend to nothing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from tests.test_onnx import _differences, _of_one, _run

from pytest_inferena.worker.aten import attention
from pytest_inferena.worker.loading import load_adapter

if TYPE_CHECKING:
    from torch import Tensor

ADAPTERS = Path(__file__).parents[1] / "adapters"
QUERY, KEY = (torch.randn(2, 2, rows, 8, generator=torch.Generator().manual_seed(rows)) for rows in (5, 6))
SOME = torch.ones(2, 1, 5, 6, dtype=torch.bool)
SOME[:, :, :, 4:] = SOME[1, :, 3:] = False
KEYS = SOME[:, :, :1]
MASKS = {
    "keys": KEYS, "keys-bias": torch.where(KEYS, 0.5, -3.0), "one": KEYS[0, 0], "queries": SOME[:1, :, :, :1] | True,
    "nothing": SOME, "nothing-bias": torch.where(SOME, 0.5, -torch.inf),
}  # fmt: skip
LOWEST = {"lowest": torch.where(SOME, 0.5, torch.finfo(torch.float32).min)}


def call(mask: Tensor) -> dict[str, Any]:
    """The operator's arguments."""
    operands = {"query": QUERY, "key": KEY, "value": KEY + 1, "attn_mask": mask}
    return operands | {"is_causal": False, "scale": 1 / math.sqrt(8), "enable_gqa": False}


@pytest.mark.parametrize("mask", MASKS)
def test_jax_masks_as_pytorch_does(mask: str) -> None:
    """A query that may attend to nothing gets zeros, and its gradients are numbers."""
    import jax

    given = call(MASKS[mask])
    query = QUERY.clone().requires_grad_()
    right = attention(*(given | {"query": query}).values())
    right.square().sum().backward()
    ours = load_adapter("jax", ADAPTERS / "jax" / "adapter.py").attention
    rest = [value.numpy() if isinstance(value, torch.Tensor) else value for value in given.values()][1:]

    found, back = jax.vjp(lambda x: ours(x, *rest), QUERY.numpy())

    np.testing.assert_allclose(found, right.detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(back(2 * found)[0], query.grad, atol=1e-4)


@pytest.mark.parametrize("mask", [*MASKS, *LOWEST])
def test_onnx_runtime_masks_as_pytorch_does(mask: str, tmp_path: Path) -> None:
    """Its Attention broadcasts no mask, so the file does; the lowest number is no -inf, as it takes it to be."""
    entry, inputs, right = _of_one("scaled_dot_product_attention", call({**MASKS, **LOWEST}[mask]))

    found = _run(entry, tmp_path, inputs, {})

    assert {} == _differences(right, found, 1e-6)
