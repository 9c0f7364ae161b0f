"""One measurement at a time on a machine, and on each of its GPUs, whoever starts it."""

from __future__ import annotations

import contextlib
import os
import re
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
def turn(device: str = "") -> Iterator[None]:
    """Wait until nobody else measures on the same device.

    A measurement on the CPU, or on a device that may be any of the machine's, has the machine to itself. Those on
    different GPUs share it: each has its GPU to itself. On Windows every measurement has the machine to itself.

    The files lie where every user looks, whatever HOME and TMPDIR say; INFERENA_LOCKS names another folder. If they
    can't be there, the user's own measurements at least take turns.

    Args:
        device: what identifies a GPU on this machine; "" for all of the machine.
    """
    folder = Path(os.environ.get("INFERENA_LOCKS") or (tempfile.gettempdir() if sys.platform == "win32" else "/tmp"))  # noqa: S108
    if sys.platform == "win32":
        with FileLock(folder / NAME):
            yield
    else:
        with contextlib.ExitStack() as held:  # the machine first, everywhere, so that no two wait for each other
            held.callback(release, _place(folder, NAME, shared=bool(device)))
            if device:
                own = f"pytest-inferena-{re.sub(r'[^A-Za-z0-9.-]', '_', device)}.lock"
                held.callback(release, _place(folder, own))
            yield


if sys.platform != "win32":

    def _place(folder: Path, name: str, *, shared: bool = False) -> int:
        """A file of a name, locked: in a folder, or else in the user's cache."""
        try:
            return _held(folder / name, shared=shared)
        except OSError:
            root().mkdir(parents=True, exist_ok=True)
            return _held(root() / name, shared=shared)

    def _held(path: Path, *, shared: bool) -> int:
        """The open file at a path, locked. Reading is enough, and others' files cannot be opened for more."""
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
                hold(file, wait=True, shared=shared)
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(file), path.lstat()):
                        return file
            except BaseException:
                os.close(file)
                raise
            os.close(file)  # it was removed meanwhile, and there may be another
