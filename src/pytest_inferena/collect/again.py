"""How a single test is run again: a command that runs in the folder where pytest was called."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_inferena.cell import DEFAULTS
from pytest_inferena.collect.arguments import BENCHMARKS, NAME
from pytest_inferena.collect.target import ASKED_FOR
from pytest_inferena.machine import thread_budget
from pytest_inferena.system import joined

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from pytest_inferena.cell import Cell
    from pytest_inferena.collect.target import Target

CARRIED = {
    "-c": "inifilename", "--rootdir": "rootdir", "--confcutdir": "confcutdir", "--import-mode": "importmode",
    "-o": "override_ini", "-p": "plugins",
    **{f"--inferena-{name}": f"inferena_{name}"
       for name in ("batch", "device", "env", "inputs", "memory", "model", "processes", "python", "seq", "timeout")},
}  # fmt: skip
"""Options without which a test is not found, or does not run as it did; each with its place in pytest's options."""


@dataclass(frozen=True)
class Call:
    """How pytest was called, as far as the call for a single test has to say the same."""

    folder: Path
    """Where."""
    packages: tuple[str, ...]
    """What --pyargs named."""
    options: tuple[str, ...]
    """Those of `CARRIED`."""
    told: frozenset[str]
    """Options of a cell that were given, by what stands behind `--inferena-`."""
    weights: str
    """What --inferena-weights said, of a path the whole; a cell has its name only."""

    @classmethod
    def of(cls, config: pytest.Config, weights: str) -> Call:
        """The call of this run of pytest."""
        options = vars(config.option)
        told = frozenset(name for name in ("size", "weights", "threads") if options[f"inferena_{name}"] is not None)
        named = [argument.partition("::")[0] for argument in config.args] if options["pyargs"] else []
        return cls(config.invocation_params.dir, tuple(named), tuple(_carried(config)), told, weights)

    def again(self, target: Target, cell: Cell, file: Path, nodeid: str) -> str:
        """The command that runs the test of a cell alone.

        Args:
            target: the cell's.
            cell: what the test measures.
            file: where the test is.
            nodeid: the test's.
        """
        said = {"size": cell.size, "weights": self.weights, "threads": str(cell.threads)}
        usual = {"size": DEFAULTS["size"], "weights": "", "threads": str(thread_budget())}
        own = [
            f"--inferena-{name}={value}" for name, value in said.items() if name in self.told or value != usual[name]
        ]
        asked = [f"--inferena-{name}" for name in target.marks() if name in ASKED_FOR]
        _, colons, test = nodeid.partition("::")
        pyargs, place = self._place(file)
        return joined(["pytest", *pyargs, f"{place}{colons}{test}", *own, *asked, *self.options])

    def _place(self, file: Path) -> tuple[list[str], str]:
        """What names a test's file: its path from here, or the module where a package was named that it is in."""
        for package in self.packages:
            name, folder = _package(package)
            if folder is not None and file.is_relative_to(folder):
                return ["--pyargs"], ".".join([name, *file.relative_to(folder).with_suffix("").parts])
        try:
            return [], os.path.relpath(file, self.folder)
        except ValueError:  # on another drive of Windows
            return [], str(file)


def _package(argument: str) -> tuple[str, Path | None]:
    """The name and the folder of a package that --pyargs names, or of the one that a named module is in.

    This project's own benchmarks may have become a path already, see `arguments.path_of`.
    """
    if argument == NAME or Path(argument).is_relative_to(BENCHMARKS):
        return NAME, BENCHMARKS
    try:
        found = importlib.util.find_spec(argument)
    except (ImportError, ValueError):  # a path, beside packages
        return argument, None
    if found is None or found.origin is None:
        return argument, None
    if found.submodule_search_locations is None:
        argument = found.parent or ""
    return argument, Path(found.origin).parent


def _carried(config: pytest.Config) -> Iterator[str]:
    """The options of `CARRIED` that were given, but for those that the ini file gives to every call."""
    always = config.getini("addopts")
    for option, place in CARRIED.items():
        found = getattr(config.option, place, None)
        for value in map(str, found if isinstance(found, list) else filter(None, [found])):
            usual = (option, value) == ("--import-mode", "prepend") or value.startswith("no:")
            words = [option, value] if len(option) == 2 else [f"{option}={value}"]
            if not usual and words[-1] not in always:
                yield from words
