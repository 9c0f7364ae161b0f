"""What must be shipped to run an engine in Python: the size of its distributions and of what they require."""

from __future__ import annotations

import functools
import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterable


def size(requirements: Iterable[str], alone: Iterable[str] = ()) -> int:
    """Bytes of distributions and of what they require.

    Args:
        requirements: as pip takes them.
        alone: requirements that are installed without their own requirements.
    """
    return sum(map(_size, closure(requirements, alone)))


def closure(requirements: Iterable[str], alone: Iterable[str] = ()) -> set[str]:
    """Names of the installed distributions that these requirements need, with their extras and markers."""
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
