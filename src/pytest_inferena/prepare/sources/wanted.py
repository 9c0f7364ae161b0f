"""What is asked of a model: its size, and the batch and the length of its inputs."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_inferena.worker.format import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

_NAMES = {"batch": "batch size", "seq": "sequence length"}


@dataclass(frozen=True)
class Wanted:
    """A size, "full" or "tiny", for what has several. A batch and a length are None where the model's own will do."""

    size: str = "full"
    batch: int | None = None
    seq: int | None = None

    def refuse(self, whose: str, *names: str, remedy: str) -> None:
        """Say of `batch` or `seq` that a model does not have it.

        Raises:
            Unsupported: one of them is asked for.
        """
        for name in names:
            if (count := getattr(self, name)) is not None:
                raise Unsupported(f"{whose} has no {_NAMES[name]} that can be set to {count}: {remedy}")

    def arguments(self, function: Callable[..., Any], whose: str) -> dict[str, int]:
        """What is asked for, as arguments of a function that makes a model.

        Raises:
            Unsupported: it takes none of that name.
        """
        takes = inspect.signature(function).parameters
        named = getattr(function, "__name__", whose)  # a partial has none
        for name in _NAMES:
            if name not in takes:
                self.refuse(whose, name, remedy=f"let {named}() take {name}=None")
        return {name: getattr(self, name) for name in _NAMES if getattr(self, name) is not None}
