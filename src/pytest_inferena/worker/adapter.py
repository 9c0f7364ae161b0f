"""What an engine's adapter implements: `load`, `compile`, and perhaps `prepare`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

    from pytest_inferena.worker.capabilities import Operators
    from pytest_inferena.worker.format import Entry, Program


@dataclass(frozen=True)
class Setup:
    """Where and how an adapter runs. The harness decides this."""

    backend: str
    """One of adapter.toml's backends."""
    device: str
    """`cpu`, `cuda`, …"""
    threads: int
    """The thread budget: the same number for every engine."""
    scratch: Path
    """An empty folder for the engine's caches; gone when the worker ends."""
    exchange: Path | None = None
    """What `prepare` wrote."""


class Step(Protocol):
    """One compiled entry. The harness owns rounds, warm-up and clocks.

    It may have a number `fallback`: how many operators run on the CPU, though another device was asked for.
    """

    def __call__(self) -> None:
        """Run once, from inputs on the device to results there. It may return before the run is done."""

    def synchronize(self) -> None:
        """Wait until the last run is done."""

    def outputs(self) -> Mapping[str, np.ndarray[Any, Any]]:
        """Arrays of the last run by name: the outputs, or `loss` and `grad:PARAMETER`."""


class Adapter:
    """The base of every Python adapter, whose class is called `Adapter` too."""

    operators: ClassVar[Operators | None] = None
    """The operators that the engine has, and under which conditions. The preparer expands all others.

    None: the engine gets the Program as it is. docs/worker-protocol.md has the grammar.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup = setup

    @classmethod
    def prepare(cls, program: Program, folder: Path) -> None:
        """Write the engine's exchange files into `folder`; in the preparer, torch at hand."""

    def load(self, program: Program, weights: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Bring the parameters into the engine. `weights` maps their names to arrays, which are read when asked for."""
        raise NotImplementedError

    def compile(self, entry: Entry) -> Step:
        """Make an entry ready to run.

        Raises:
            Unsupported: the engine lacks something the entry needs.
        """
        raise NotImplementedError

    def describe(self) -> str:
        """What really runs, read from the engine: its platform, provider or device."""
        return f"{self.setup.backend} on {self.setup.device}"
