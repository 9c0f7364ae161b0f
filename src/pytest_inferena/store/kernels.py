"""Kernels that engines compiled, kept where nothing is measured."""

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
    """What these versions of a framework compiled for cells that were judged and not measured.

    Engines compile for the processor that they run on, and not all of them look at it again, so each kind has its own:
    a cache that machines share would end in an illegal instruction. One worker has them at a time, and what one leaves
    that was ended is not kept: inductor takes half a library for a whole one.
    """

    def __init__(self, framework: str, versions: Iterable[str]) -> None:
        processor = hashlib.sha256(instruction_sets().encode()).hexdigest()[:8]
        self.folder = root() / "kernels" / "-".join([framework, *versions, processor])
        self._taken = self.folder / "taken"
        self._lock = FileLock(f"{self.folder}.lock")

    def take(self) -> Path | None:
        """The folder; None while another worker has it."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            return None
        if self._taken.exists():  # whoever took it never gave it back
            shutil.rmtree(self.folder)
        self.folder.mkdir(exist_ok=True)
        self._taken.touch()
        return self.folder

    def give_back(self, *, whole: bool) -> None:
        """Let the next worker have it, and what is in it if the last one ended of its own accord."""
        if self._lock.is_locked:
            if whole:
                self._taken.unlink(missing_ok=True)
            self._lock.release()
