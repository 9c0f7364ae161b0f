"""What is prepared: a model at a size with weights, under a name."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pytest_inferena.cell import DEFAULTS
from pytest_inferena.collect.settings import WEIGHTS
from pytest_inferena.store.hashes import files_of, sha256_of

if TYPE_CHECKING:
    from pytest_inferena.collect.model import Model
    from pytest_inferena.collect.settings import Settings
    from pytest_inferena.collect.target import Target


@dataclass(frozen=True)
class Workload:
    """What is prepared: a model at a size with weights."""

    model: Model
    size: str
    weights: str
    """One of `WEIGHTS`, or a path."""
    batch: int | None = None
    seq: int | None = None
    """None is the model's own, as with `batch`."""
    inputs: str = DEFAULTS["inputs"]

    @classmethod
    def of(cls, target: Target, settings: Settings) -> Self:
        """What a session prepares for a target."""
        weights = settings.weights_of(target)
        return cls(target.model, settings.size, weights, target.batch, target.seq, target.inputs)

    def key(self) -> str:
        """A name for its folder. The parts in it say which code made them."""
        source = self.model.source
        parts: list[Any] = [self.model.name, self.size, self.weights, source.place, *source.content()]
        parts += [(name, count) for name, count in (("batch", self.batch), ("seq", self.seq)) if count is not None]
        parts += [("inputs", self.inputs)] if self.inputs != DEFAULTS["inputs"] else []
        if self.weights not in WEIGHTS:
            parts += [(path.name, sha256_of(path)) for path in sorted(files_of(Path(self.weights)))]
        return f"{self.model.name}-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]}"

    @property
    def parameters(self) -> int | None:
        """How many it has, as far as that is known before it is prepared: tiny models have few. None: nobody knows."""
        return 0 if self._is_tiny else self.model.parameters or None

    def estimate(self) -> int:
        """Bytes that it will take: weights and gradients in float32, and some outputs. Tiny models take little."""
        weigh = max(9 * self.model.parameters, 9 * self.model.source.weigh() // 4)
        return 16 << 20 if self._is_tiny else weigh + (64 << 20)

    @property
    def _is_tiny(self) -> bool:
        """Whether it is small whatever the model is. Most sources have one size."""
        return self.size == "tiny" and self.model.source.kind in {"file", "python"}
