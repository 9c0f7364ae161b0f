"""One measurement at a time on a machine, whoever starts it."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from pytest_inferena.files import hold, release
from pytest_inferena.store.cache import root

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "pytest-inferena-cpu.lock"


@contextlib.contextmanager
def turn() -> Iterator[None]:
    """Wait until nobody else measures.

    The file lies where every user looks, whatever HOME and TMPDIR say; INFERENA_LOCKS names another folder. If it can't
    be there, the user's own measurements at least take turns.
    """
    folder = Path(os.environ.get("INFERENA_LOCKS") or (tempfile.gettempdir() if sys.platform == "win32" else "/tmp"))  # noqa: S108
    if sys.platform == "win32":
        with FileLock(folder / NAME):
            yield
        return
    try:
        file = _held(folder / NAME)
    except OSError:
        root().mkdir(parents=True, exist_ok=True)
        file = _held(root() / NAME)
    try:
        yield
    finally:
        release(file)


def _held(path: Path) -> int:
    """The open file at a path, locked. Reading is enough for a lock, and others' files cannot be opened for more."""
    while True:
        try:
            file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                made = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o444)
                os.fchmod(made, 0o444)  # whatever the umask says
                os.close(made)
            continue
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise FileExistsError(f"{path} is no plain file")
            hold(file, wait=True)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file), path.lstat()):
                    return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # it was removed meanwhile, and there may be another
