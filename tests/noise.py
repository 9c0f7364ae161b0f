"""Tensors of noise, and tensors at a known error from others."""

from __future__ import annotations

from typing import Any

import numpy as np


def normal(*shape: int, seed: int = 0) -> Any:
    """Standard normal values in float32."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def off(golden: Any, nrmse: float, seed: int = 1) -> Any:
    """A tensor at this NRMSE from golden."""
    noise = np.random.default_rng(seed).standard_normal(golden.shape)
    scale = nrmse * np.sqrt(np.mean(np.square(golden, dtype=float)) / np.mean(noise**2))
    return (golden + scale * noise).astype(np.float32)
