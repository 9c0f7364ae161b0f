"""Folders for what only one session needs. One whose owner is dead is removed by the next session."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from pytest_inferena.files import hold, release

PREFIX = "inferena-"
OWNER = "owner"
"""A file that the owner of a folder holds as long as it lives."""


class Scratch:
    """A folder of this session's own, for this user only."""

    def __init__(self) -> None:
        sweep()
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._owner = os.open(self.folder / OWNER, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        hold(self._owner)

    def close(self) -> None:
        """Remove it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._owner >= 0:
            release(self._owner)
            self._owner = -1


def sweep() -> None:
    """Remove the folders that killed sessions have left. Another user's are never touched."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            file = os.open(folder / OWNER, os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0))
            try:
                if not folder.is_symlink() and hold(file) and _is_ours(file):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(file)


def _is_ours(file: int) -> bool:
    return not hasattr(os, "getuid") or os.fstat(file).st_uid == os.getuid()
