"""Hashes of contents: what something was made from decides where it is kept."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Stamp: TypeAlias = tuple[int, int, int, int, int]

SETTLED = 10**8
"""Nanoseconds after a change, in which a second change may get the same time."""
_known: dict[Path, tuple[Stamp, str]] = {}


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of(path: Path) -> str:
    """The same, and a file that has not changed is read once a session.

    The system sets the time of the last change (ctime) itself: a program that overwrites a file, or puts another one of
    the same size and time in its place, cannot choose it. Only what is written through a mapping of memory shows late.
    """
    before = _stamp(path)
    known, found = _known.get(path, (None, ""))
    if before == known:
        return found
    found = sha256(path)
    if before == _stamp(path) and time.time_ns() - before[-1] > SETTLED:
        _known[path] = before, found
    return found


def _stamp(path: Path) -> Stamp:
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def digest(paths: Iterable[Path]) -> str:
    """A hash of files, and of the Python, TOML and Rust sources in folders, by name and content."""
    total = hashlib.sha256()
    for path in paths:
        files = [path] if path.is_file() else sorted(files_of(path))
        for file in files:
            if file == path or file.suffix in {".py", ".toml", ".rs"}:
                total.update(f"{file.name}\0{sha256_of(file)}".encode())
    return total.hexdigest()[:16]


def files_of(path: Path) -> list[Path]:
    """A file itself, or all files below a folder."""
    return [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
