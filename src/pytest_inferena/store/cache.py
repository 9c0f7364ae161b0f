"""Where things are kept, and how much room they take."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from pytest_inferena.store.disk import CacheError


def root() -> Path:
    """The user's cache folder: INFERENA_CACHE, or `pytest-inferena` where the system keeps caches."""
    if chosen := os.environ.get("INFERENA_CACHE"):
        return Path(chosen).absolute()  # workers run in other folders
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pytest-inferena"


def require() -> None:
    """Check that the cache can be written.

    Raises:
        CacheError: it cannot.
    """
    remedy = "INFERENA_CACHE=FOLDER names another place"
    try:
        root().mkdir(parents=True, exist_ok=True)
    except RuntimeError as error:
        raise CacheError(f"no place for the cache: {error}; {remedy}") from error
    except OSError as error:
        raise CacheError(f"the cache {root()} cannot be made: {error.strerror}; {remedy}") from error
    if not os.access(root(), os.W_OK | os.X_OK):
        raise CacheError(f"the cache {root()} cannot be written; {remedy}")


def size_of(folder: Path) -> int:
    """Bytes that the files in a folder have."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # another process may have removed it
            total += path.lstat().st_size if path.is_file() else 0
    return total
