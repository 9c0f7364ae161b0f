"""Where things are kept, and how much room they take."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path


def root() -> Path:
    """The user's cache folder: INFERENA_CACHE, or `pytest-inferena` where the system keeps caches."""
    if chosen := os.environ.get("INFERENA_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pytest-inferena"


def lock_folder() -> Path:
    """The folder for the locks of devices: one for each user, whatever cache is used."""
    return Path.home() / ".cache" / "pytest-inferena" / "locks"


def size() -> int:
    """Bytes that the cache takes."""
    total = 0
    for path in root().rglob("*"):
        with contextlib.suppress(OSError):  # another process may have removed it
            total += path.stat().st_size if path.is_file() else 0
    return total


def clear() -> int:
    """Remove everything that can be made again, and return the bytes that it took."""
    taken = size()
    for made in ("programs", "kernels"):
        shutil.rmtree(root() / made, ignore_errors=True)
    return taken - size()
