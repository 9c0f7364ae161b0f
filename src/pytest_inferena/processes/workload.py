"""What is prepared: a model at a size with weights, under a name that all of it decides."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferena.store.hashes import digest, files_of, version

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_inferena.collect.model import Model

HERE = Path(__file__).parents[1]
SOURCES = (
    "program/*.py",
    "worker/format.py",
    "worker/aten.py",
    "prepare/*.py",
    "verdict/*.py",
)
"""What of this package decides the content of a Program and of golden data."""
EXCHANGE_SOURCES = ("program/*/*.py",)
"""What of it writes exchange files, beside an engine's adapter."""
DISTRIBUTIONS = ("torch", "transformers", "numpy", "safetensors", "gguf")


@dataclass(frozen=True)
class Workload:
    """What is prepared: a model at a size with weights."""

    model: Model
    size: str
    weights: str
    """As asked for: seeded, package, hub or a path."""

    def key(self) -> str:
        """A name for the folder: the model's, and a hash of all that decides its content."""
        parts: list[Any] = [self.model.name, self.size, self.weights, digest([self.model.source])]
        parts += [own(SOURCES)]
        parts += [(name, version(name)) for name in DISTRIBUTIONS]
        if self.weights not in {"seeded", "package", "hub"}:
            parts += [_stamp(path) for path in sorted(files_of(Path(self.weights)))]
        if self.weights == "package":
            parts += [(name, version(name)) for name in self.model.packages]
        return f"{self.model.name}-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]}"

    def estimate(self) -> int:
        """Bytes it will take: weights and gradients in fp32, and some for outputs; tiny models take next to nothing."""
        return 9 * self.model.parameters + (64 << 20) if self.size == "full" else 16 << 20


def own(patterns: Iterable[str]) -> str:
    """The digest of files of this package."""
    return digest(path for pattern in patterns for path in sorted(HERE.glob(pattern)))


def _stamp(path: Path) -> tuple[str, int, int]:
    status = path.stat()
    return path.name, status.st_size, status.st_mtime_ns
