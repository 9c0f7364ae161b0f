"""What can be made again: Programs with all that was made of them, and kernels. Those unused for longest go first."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING, NamedTuple

from filelock import FileLock, Timeout

from pytest_inferena.files import hold, release
from pytest_inferena.store.cache import root, size_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

USED = "used"
"""A file in a Program's folder, locked by all sessions that use the Program. Its time says when the last one began."""


class Entry(NamedTuple):
    """A folder that goes as a whole."""

    used: float
    """When it was used last. Unit: seconds since 1970."""
    path: Path
    lock: Path
    """Held by whoever makes it, or has it alone."""
    size: int
    """Bytes."""


def use(program: Path) -> int | None:
    """Say that this process uses a Program, until it gives what this returns to `release`. None: it cannot be said."""
    try:
        file = os.open(program / USED, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    except OSError:
        return None
    os.utime(program / USED)
    hold(file, shared=True)
    return file


def prune(keep: int) -> tuple[int, int]:
    """Remove what was unused for longest until the rest takes at most `keep` bytes. What is in use stays.

    Returns:
        the bytes that were removed, and those that stay.
    """
    found = sorted(_entries())
    there = sum(entry.size for entry in found)
    removed = 0
    for entry in found:
        if there - removed > keep and _remove(entry):
            removed += entry.size
    return removed, there - removed


def _entries() -> Iterator[Entry]:
    for kind in ("programs", "kernels"):
        for folder in _folders(root() / kind):
            key = folder.name.partition("-making-")[0]
            lock = folder.with_name(f"{key}.lock")
            parts = _folders(folder) if kind == "programs" and key == folder.name else []
            for path in parts or [folder]:
                with contextlib.suppress(OSError):  # another process may have removed it
                    mark = path / USED
                    used = (mark if mark.exists() else path).stat().st_mtime
                    yield Entry(used, path, lock, size_of(path))


def _folders(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()]
    except OSError:
        return []


def _remove(entry: Entry) -> bool:
    """Remove a folder, unless somebody makes or uses it."""
    lock = FileLock(entry.lock)
    try:
        lock.acquire(blocking=False)
    except (Timeout, OSError):
        return False
    try:
        if not _in_use(entry.path / USED):
            shutil.rmtree(entry.path, ignore_errors=True)
            with contextlib.suppress(OSError):
                entry.path.parent.rmdir()  # a workload's folder, with its last Program
    finally:
        lock.release()
    return not entry.path.exists()


def _in_use(mark: Path) -> bool:
    try:
        file = os.open(mark, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return False
    try:
        return not hold(file)
    finally:
        release(file)
