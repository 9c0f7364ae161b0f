"""Limits of what a run starts, by name: memory, the size of a file, open files, processes."""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_inferena import system

if TYPE_CHECKING:
    from collections.abc import Mapping

GIB = 1 << 30
LARGEST = 1 << 62
"""Bytes; the kernel's own limits end at twice as many."""
NAMES = ("memory", "file", "files", "processes")
"""The fields of `Limits`, which are the keys of `[limits]` in adapter.toml."""
UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": GIB, "TiB": 1 << 40}


def size_of(text: str) -> int:
    """Bytes: `8GiB`, `512MiB`, `1000`.

    Raises:
        ValueError: it is no size over 0, or one that no machine has.
    """
    found = re.fullmatch(r"([0-9]{1,15})(KiB|MiB|GiB|TiB|)", text)
    size = int(found[1]) * UNITS[found[2]] if found else 0
    if not size:
        raise ValueError(f"{text:.40}: a size over 0 is expected, such as 8GiB or 512MiB")
    if size > LARGEST:
        raise ValueError(f"{text}: at most {LARGEST >> 40}TiB")
    return size


def written(size: int) -> str:
    """A size as people read it."""
    unit = next((unit for unit in ("GiB", "MiB") if size >= UNITS[unit]), "KiB")
    return f"{size / UNITS[unit]:.3g} {unit}"


def most() -> int | None:
    """The memory that a process may take where nothing else is said: the machine's but for a tenth, or for 1 GiB."""
    total = system.memory_limit()
    return None if total is None else total - min(max(total // 10, GIB), total // 4)


@dataclass(frozen=True)
class Limits:
    """What a process may take, with all that it starts. None: as much as there is."""

    memory: int | None = field(default_factory=most)
    """Bytes of its own: files that are mapped into memory don't count, nor does the memory of a GPU."""
    file: int | None = None
    """Bytes of the largest file that it writes."""
    files: int = 4096
    """Open files of one process."""
    processes: int = 1024

    @classmethod
    def of(cls, parameters: int | None, *chosen: Mapping[str, str]) -> Limits:
        """The limits for a model; what was chosen last counts.

        Args:
            parameters: how many a model has: exchange files and gradients grow with them; None: nobody knows.
            chosen: name → text.

        Raises:
            ValueError: a name is no limit, or a text is no size.
        """
        given = {name: text for each in chosen for name, text in each.items()}
        if unknown := given.keys() - {*NAMES}:
            raise ValueError(f"{min(unknown)} is no limit; one of {', '.join(NAMES)}")
        sizes = {name: size_of(text) for name, text in given.items()}
        return cls(**({} if parameters is None else {"file": 16 * (GIB + parameters)}) | sizes)

    def hint(self, message: str) -> str:
        """What a message of a full file or of too many files does not say; "" for other messages."""
        if self.file is not None and os.strerror(errno.EFBIG) in message:
            return f"; a file may have {written(self.file)}: {in_adapter('file')}"
        if os.strerror(errno.EMFILE) in message:
            return f"; a process may open {self.files}: {in_adapter('files')}"
        return ""


def in_adapter(name: str) -> str:
    """What gives more of something."""
    return f"'{name}' of [limits] in adapter.toml allows more"
