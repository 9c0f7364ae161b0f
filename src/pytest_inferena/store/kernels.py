"""Kernels that engines compiled, kept for runs that measure nothing."""

from __future__ import annotations

import hashlib
import shutil
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from pytest_inferena.machine import instruction_sets
from pytest_inferena.store.cache import root

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class Kernels:
    """Kernels that one version of a framework compiled for cells that were judged and not measured.

    Engines compile for the processor that they run on, and not all of them check it again. So each kind of processor
    has its own folder: in a cache that machines share, a kernel could end in an illegal instruction.
    One worker has the folder at a time. If a worker is killed, its folder is emptied: inductor would take half a
    library for a whole one.
    """

    def __init__(self, framework: str, versions: Iterable[str]) -> None:
        processor = hashlib.sha256(instruction_sets().encode()).hexdigest()[:8]
        self.folder = root() / "kernels" / "-".join([framework, *versions, processor])
        self._taken = self.folder / "taken"
        self._lock = FileLock(f"{self.folder}.lock")

    def take(self) -> Path | None:
        """The folder, or None while another worker has it, or where there can be none."""
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(blocking=False)
            if self.folder.is_symlink() or self.folder.is_file():
                self.folder.unlink()
            if self._taken.exists():  # the last worker never gave it back
                shutil.rmtree(self.folder)
            self.folder.mkdir(exist_ok=True)
            self._taken.touch()
        except (Timeout, OSError):
            self._lock.release()
            return None
        return self.folder

    def give_back(self, *, whole: bool) -> None:
        """Let the next worker have the folder. Its content is kept if this worker ended by itself."""
        if self._lock.is_locked:
            if whole:
                self._taken.unlink(missing_ok=True)
            self._lock.release()
