"""Files on disk: a full disk, told in whichever process it shows, and files that lie in two folders."""

from __future__ import annotations

import errno
import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

FULL, TOO_LARGE = 28, 27
"""The preparer's exit status where the disk is full, or a file over its limit: there may be no room for a message."""


class CacheError(Exception):
    """The cache cannot be used; the message names the remedy."""


def is_full(error: BaseException) -> bool:
    """Whether the disk has no room; safetensors' own error has the system's number in its text."""
    return _number(error) in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def is_too_large(error: BaseException) -> bool:
    """Whether a file may not grow any more, however much room there is."""
    return _number(error) == errno.EFBIG


def _number(error: BaseException) -> int | None:
    named = re.search(r"os error (\d+)", str(error))
    return int(named[1]) if named else getattr(error, "errno", None)


def link(source: Path, folder: Path) -> None:
    """Make a hard link of a file in another folder. Engines refuse data that lies outside the model's own folder.

    Both folders have to be on one file system, as the folders of the cache are.
    """
    if not (folder / source.name).exists():
        os.link(source, folder / source.name)
