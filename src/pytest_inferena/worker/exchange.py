"""For adapters whose engine runs files of its own format, which the preparer makes of the Program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_inferena.worker.adapter import Adapter, Step
from pytest_inferena.worker.format import Unsupported

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

    from pytest_inferena.worker.format import Entry, Program


class Exchange(Adapter):
    """The base of adapters that run what their `prepare` wrote. They implement `build` in place of `compile`.

    `prepare` may `refuse` an entry instead of writing it. Compiling that entry then fails with the reason.
    """

    program: Program
    weights: Mapping[str, np.ndarray[Any, Any]]
    exchange: Path
    """The folder that `prepare` filled."""

    def load(self, program: Program, weights: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Find the files. `build` reads them, and the weights if the files hold none.

        Raises:
            ValueError: nothing was prepared: adapter.toml lacks `exchange = true`.
        """
        if self.setup.exchange is None:
            raise ValueError("it runs exchange files and none were prepared")
        self.program, self.weights, self.exchange = program, weights, self.setup.exchange

    def compile(self, entry: Entry) -> Step:
        """Build an entry.

        Raises:
            Unsupported: it was refused, or the engine lacks something that it needs.
        """
        if (reason := self.exchange / f"{entry.name}.unsupported").exists():
            raise Unsupported(reason.read_text(encoding="utf-8"))
        return self.build(entry)

    def build(self, entry: Entry) -> Step:
        """Make an entry ready to run, from its files."""
        raise NotImplementedError


def refuse(folder: Path, entry: str, reason: object) -> None:
    """Say in `prepare` why an entry has no file: the reason goes to ENTRY.unsupported. Engines in Rust read it too."""
    (folder / f"{entry}.unsupported").write_text(str(reason), encoding="utf-8")
