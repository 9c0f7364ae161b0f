"""What the preparer has imported. Its answer has it: a part counts only as long as all of it is the same."""

from __future__ import annotations

import functools
import importlib.metadata
import site
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_inferena.store.origins import PACKAGE, PYTHON, Origins, content_of, name_of, version

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


class Imported:
    """Watches `sys.modules`. A file is read when its module is first seen, as soon after the import as possible.

    A module of a distribution counts by the distribution's version. A module of this package, of the adapter, of the
    model, or of an editable installation counts by its content.
    """

    def __init__(self) -> None:
        self.adapter: Path | None = None
        """The folder of the adapter that is at work, known before anything of it is imported."""
        self._seen: set[str] = set()
        self._sources: dict[str, str] = {}
        self._distributions: set[str] = set()
        self.look()

    def look(self) -> None:
        """Take in the modules that were imported since the last look."""
        new = sys.modules.keys() - self._seen
        self._seen |= new
        for file in _files(new):
            own = file.is_relative_to(PACKAGE) or (self.adapter is not None and file.is_relative_to(self.adapter))
            place = next((place for place in _installed() if file.is_relative_to(place)), None)
            if place and not own and (found := _distributions().get(file.relative_to(place).parts[0].split(".")[0])):
                self._distributions.update(found)
            elif own or place or not any(file.is_relative_to(library) for library in _standard()):
                self._keep(file)

    def origins(self, others: Iterable[str] = ()) -> Origins:
        """All of it.

        Args:
            others: distributions that were read and perhaps not imported.
        """
        self.look()
        named = sorted({*self._distributions, *others, PYTHON})
        versions = {name: found for name in named if (found := version(name)) is not None}
        return Origins(dict(sorted(self._sources.items())), versions)

    def _keep(self, file: Path) -> None:
        name = name_of(file, self.adapter)
        if name not in self._sources and (content := content_of(file)) is not None:
            self._sources[name] = content


def _files(modules: Iterable[str]) -> Iterator[Path]:
    """The files of modules. Built-in modules have none, and torch names some that do not exist."""
    for name in modules:
        file = getattr(sys.modules[name], "__file__", None)
        if isinstance(file, str) and Path(file).is_absolute() and Path(file).is_file():
            yield Path(file).resolve()


@functools.cache
def _installed() -> tuple[Path, ...]:
    places = (*map(sysconfig.get_path, ("purelib", "platlib")), *site.getsitepackages(), site.getusersitepackages())
    return tuple(Path(place).resolve() for place in places)


@functools.cache
def _standard() -> tuple[Path, ...]:
    return tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    """Name of a package → the distributions that have a part of it."""
    return importlib.metadata.packages_distributions()
