"""Hashes of contents: what something was made from decides where it is kept."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(paths: Iterable[Path]) -> str:
    """A hash of the Python, TOML and Rust sources among files and folders, by name and content."""
    total = hashlib.sha256()
    for path in paths:
        files = sorted(files_of(path)) if path.is_dir() else [path]
        for file in files:
            if file.suffix in {".py", ".toml", ".rs"}:
                total.update(file.name.encode() + b"\0" + file.read_bytes())
    return total.hexdigest()[:16]


def files_of(path: Path) -> list[Path]:
    """A file itself, or all files below a folder."""
    return [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
