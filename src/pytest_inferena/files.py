"""Plain files, and locks on them: what others put in their place is never waited for, and never followed."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

if sys.platform != "win32":
    import fcntl


def open_plain(path: Path) -> BinaryIO:
    """Open a plain file for reading. A pipe or a device is never waited for.

    Raises:
        OSError: there is none.
        ValueError: it is something else than a plain file.
    """
    file = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise ValueError(f"{path} is no plain file")
    return os.fdopen(file, "rb")


def read_plain(path: Path, limit: int) -> bytes:
    """The content of a plain file.

    Raises:
        OSError: there is none.
        ValueError: it is something else than a plain file, or longer than `limit` bytes.
    """
    with open_plain(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"{path} has over {limit} bytes")
    return content


def hold(file: int, *, wait: bool = False, shared: bool = False) -> bool:
    """Lock an open file for this process, until `release`, or the process's death; `shared` with others that do so too.

    Returns:
        False if another process has it, and was not waited for. Where the file system has no locks it is True.
    """
    if sys.platform != "win32":
        try:
            kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
            fcntl.flock(file, kind | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        except OSError:
            return True
    return True


def release(file: int) -> None:
    """Close a file that was locked. A process that was forked meanwhile does not hold it on."""
    if sys.platform != "win32":
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_UN)
    os.close(file)
