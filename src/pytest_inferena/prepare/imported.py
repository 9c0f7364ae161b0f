"""What the preparer has imported, for its answer: a part counts as long as all of that is the same."""

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
    """Watches `sys.modules`: a file's content is taken when the module is first seen, as near to its import as can be.

    A module of a distribution counts by that one's version. One of this package, of the adapter, of the model, or of
    a distribution that is installed as an editable checkout, counts by its content.
    """

    def __init__(self, adapter: Path | None) -> None:
        self.adapter = adapter
        self.sources: dict[str, str] = {}
        self.packages: set[str] = set()
        self.seen: set[str] = set()
        self.look()

    def look(self) -> None:
        """Take in the modules that were imported since the last look."""
        new = sys.modules.keys() - self.seen
        self.seen |= new
        for name, file in _files(new):
            if file.is_relative_to(PACKAGE) or (self.adapter and file.is_relative_to(self.adapter)):
                self._keep(file)
            elif any(file.is_relative_to(place) for place in _installed()):
                self.packages.add(name.partition(".")[0])
                if name.partition(".")[0] not in _distributions():
                    self._keep(file)
            elif not any(file.is_relative_to(place) for place in _standard()):
                self._keep(file)

    def origins(self, others: Iterable[str] = ()) -> Origins:
        """All of it.

        Args:
            others: distributions that were read and perhaps not imported.
        """
        self.look()
        named = {found for name in self.packages for found in _distributions().get(name, ())}
        versions = {name: found for name in sorted({*named, *others, PYTHON}) if (found := version(name)) is not None}
        return Origins(dict(sorted(self.sources.items())), versions)

    def _keep(self, file: Path) -> None:
        name = name_of(file, self.adapter)
        if name not in self.sources and (content := content_of(file)) is not None:
            self.sources[name] = content


def _files(modules: Iterable[str]) -> Iterator[tuple[str, Path]]:
    """Modules with a file: built-in ones have none, and torch names some that do not exist."""
    for name in modules:
        file = getattr(sys.modules[name], "__file__", None)
        if isinstance(file, str) and Path(file).is_absolute() and Path(file).is_file():
            yield name, Path(file).resolve()


@functools.cache
def _installed() -> tuple[Path, ...]:
    places = (*map(sysconfig.get_path, ("purelib", "platlib")), *site.getsitepackages(), site.getusersitepackages())
    return tuple(Path(place).resolve() for place in places)


@functools.cache
def _standard() -> tuple[Path, ...]:
    return tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    """Name of a package → distributions that have a part of it."""
    return importlib.metadata.packages_distributions()
