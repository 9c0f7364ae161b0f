"""What something in the cache was made from: modules by their content, distributions by their versions.

The process that makes it reports what it really imported, so nobody keeps a list by hand. Files of this package and
of an adapter are named by their places in those folders: another copy of the folder is compared with its own files.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferena.store.hashes import sha256

if TYPE_CHECKING:
    from collections.abc import Mapping

PACKAGE = Path(__file__).parents[1]
IN_PACKAGE, IN_ADAPTER = "{package}/", "{adapter}/"
PYTHON = "python"
"""The name, among the distributions, of the interpreter and its standard library."""


@dataclass(frozen=True)
class Origins:
    """What a part was made from."""

    sources: Mapping[str, str]
    """`{package}/program/graph.py`, `{adapter}/adapter.py` or a path → SHA-256 of the file."""
    versions: Mapping[str, str]
    """Distribution → version."""

    def to_json(self) -> dict[str, Any]:
        """The JSON values that the preparer answers with and that a manifest has."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Origins:
        """From a manifest or an answer.

        Raises:
            KeyError, TypeError, ValueError: the values are no such thing.
        """
        return cls(dict(document["sources"]), dict(document["versions"]))

    def digest(self) -> str:
        """A name for all of this: whatever is made from anything else has another name."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:16]

    def are_todays(self, adapter: Path | None = None) -> bool:
        """Whether every module and every distribution is the same today.

        Args:
            adapter: the folder of the adapter that is asked for.
        """
        places = ((place_of(name, adapter), kept) for name, kept in self.sources.items())
        return all(content_of(place) == kept for place, kept in places) and all(
            version(name) == kept for name, kept in self.versions.items()
        )


def name_of(file: Path, adapter: Path | None) -> str:
    """The name of a file in `Origins`."""
    for prefix, folder in ((IN_ADAPTER, adapter), (IN_PACKAGE, PACKAGE)):
        if folder is not None and file.is_relative_to(folder):
            return prefix + file.relative_to(folder).as_posix()
    return str(file)


def place_of(name: str, adapter: Path | None) -> Path | None:
    """The path of a file of `Origins` today; None for an adapter's file if there is no adapter."""
    if name.startswith(IN_ADAPTER):
        return adapter / name.removeprefix(IN_ADAPTER) if adapter else None
    return PACKAGE / name.removeprefix(IN_PACKAGE) if name.startswith(IN_PACKAGE) else Path(name)


def content_of(file: Path | None) -> str | None:
    """The SHA-256 of a small file, read again only when its time or size has changed; None if it is not there."""
    try:
        status = file.stat() if file else None
    except OSError:
        return None
    return _content(file, status.st_mtime_ns, status.st_size) if file and status else None


@functools.cache
def _content(file: Path, mtime: int, size: int) -> str | None:
    del mtime, size
    return sha256(file) if file.is_file() else None


@functools.cache
def version(name: str) -> str | None:
    """The version of a distribution, or of Python; None if it is not installed. It is looked up once a session."""
    if name == PYTHON:
        return platform.python_version()
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
