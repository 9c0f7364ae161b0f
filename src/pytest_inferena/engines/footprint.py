"""What must be shipped to run an engine: the size of its executable, or of its distributions and what they require."""

from __future__ import annotations

import functools
import importlib.metadata
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_inferena.engines.framework import Backend, Framework

MIB = 1 << 20


def mib(framework: Framework, backend: Backend) -> float | None:
    """Installed size of what a backend needs; the interpreter and the system's libraries are not part of it.

    Returns:
        MiB; None where its files are not to be found from here: another interpreter's.
    """
    if framework.cargo or framework.executable:
        program = Path(framework.command(backend)[0])
        return program.stat().st_size / MIB if program.exists() else None
    if framework.python != sys.executable:
        return None
    return sum(map(_size, closure(framework.requires, framework.alone))) / MIB


def closure(requirements: Iterable[str], alone: Iterable[str] = ()) -> set[str]:
    """Names of distributions that are here and that these requirements lead to, extras and markers obeyed.

    Args:
        requirements: as pip takes them.
        alone: those of them that are used without what they require.
    """
    ends = {Requirement(text).name for text in alone}
    waiting = [Requirement(text) for text in requirements]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        one = waiting.pop()
        key = (canonicalize_name(one.name), frozenset(one.extras))
        if key in seen or not (one.marker is None or one.marker.evaluate()):
            continue
        try:
            asked = importlib.metadata.requires(one.name) or ()
        except importlib.metadata.PackageNotFoundError:
            continue
        seen.add(key)
        for text in () if one.name in ends else asked:
            needed = Requirement(text)
            if needed.marker is None or any(needed.marker.evaluate({"extra": name}) for name in ("", *one.extras)):
                needed.marker = None
                waiting.append(needed)
    return {name for name, _ in seen}


@functools.cache
def _size(name: str) -> int:
    files = importlib.metadata.files(name) or ()
    places = (Path(str(file.locate())) for file in files)
    return sum(place.stat().st_size for place in places if place.is_file() and place.suffix != ".pyc")
