"""Medians that other processes of an engine might have given: a hierarchical bootstrap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

RESAMPLES = 2000
SEED = 1905
"""The same samples give the same answer, whenever it is computed."""


def medians(samples: Sequence[Sequence[float]], seed: int = SEED) -> Any:
    """Draw processes with replacement, and of each as many samples as it took.

    So what one process has settled into counts once, however many samples it took (Davison and Hinkley, Bootstrap
    Methods and their Application, section 3.8).

    Args:
        samples: those of each process, one at least.
        seed: of the draws.

    Returns:
        the median of the processes' medians of each draw, float64 of shape (RESAMPLES,).
    """
    generator = np.random.default_rng(seed)
    drawn = generator.integers(len(samples), size=(RESAMPLES, len(samples)))
    found = np.empty(drawn.shape)
    for place, process in enumerate(samples):
        here = drawn == place
        found[here] = np.median(generator.choice(process, (here.sum(), len(process))), axis=1)
    return np.median(found, axis=1)
