"""All processes of a session end with it, however it ends: they carry a mark, and a guard looks for it.

The mark is a variable of the environment, which children inherit also where they leave the process group and the
session. The guard is this file as a small process of its own. It sleeps until the process that started it has ended,
by itself or by kill -9. Then it ends what is left, and removes the folders that were told to it.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

VARIABLE = "INFERENA_MARK"
PATIENCE = 5.0
"""Seconds for which processes are looked for: while one is ended it may start another."""
STARTING = 1.0
"""Seconds that a process is given to take on its executable: on a busy machine it waits for the processor meanwhile."""
ENV_END = 48
"""The field of /proc/PID/stat, after the name, that is 0 until the environment lies in the process's memory."""


class Marks:
    """The marks of this process's children, and its guard."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.name = os.urandom(8).hex()
        self._made = 0
        self._guard: subprocess.Popen[bytes] | None = None
        if sys.platform != "win32":  # where no process shows its environment to others
            silent, command = subprocess.DEVNULL, [sys.executable, "-I", "-S", __file__, self.name]
            self._guard = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=silent, stderr=silent, cwd="/", env={}, start_new_session=True
            )
            atexit.register(self._close)

    def new(self) -> str:
        """A mark for one more child."""
        self._made += 1
        return f"{self.name}.{self._made}."

    def watch(self, folder: Path) -> None:
        """Let the guard remove a folder."""
        if self._guard is not None and self._guard.stdin is not None:
            with contextlib.suppress(OSError):  # somebody has killed the guard; what it leaves is swept by the next run
                os.write(self._guard.stdin.fileno(), os.fsencode(folder) + b"\0")

    def _close(self) -> None:
        if self._guard is not None and self.owner == os.getpid():
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                self._guard.communicate(timeout=5)


_marks: Marks | None = None


def marks() -> Marks:
    """Those of this process; a process that was forked from it has its own."""
    global _marks  # noqa: PLW0603 - one guard is enough
    if _marks is None or _marks.owner != os.getpid():
        _marks = Marks()
    return _marks


def end(mark: str, but: int | None = None) -> None:
    """Kill the processes whose mark begins like this, but one. Only Linux shows the environment of others."""
    if sys.platform == "win32":
        return
    last = time.monotonic() + PATIENCE
    while (found := {*carriers(mark, living())} - {but}) and time.monotonic() < last:
        for process in found:
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.002)  # they need the processor to die


def living() -> set[int]:
    """All processes of the machine; none where the system does not list them in /proc."""
    with contextlib.suppress(OSError):
        return {int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()}
    return set()


def carriers(mark: str, among: set[int]) -> list[int]:
    """The processes with a mark. The dead that nobody has waited for have no environment any more."""
    entry = b"\0" + f"{VARIABLE}={mark}".encode()
    found = []
    for process in among:
        with contextlib.suppress(OSError):  # another user's, or gone
            if entry in b"\0" + _environment(Path(f"/proc/{process}")):
                found.append(process)
    return found


def _environment(folder: Path) -> bytes:
    """What a process was started with. While it takes on its executable, there is none yet."""
    last = time.monotonic() + STARTING
    while True:
        ends = (folder / "stat").read_bytes().rpartition(b")")[2].split()[ENV_END]
        if ends != b"0" or time.monotonic() > last:
            return (folder / "environ").read_bytes()
        (folder / "exe").readlink()  # raises where there is none: a thread of the kernel, or it has ended
        time.sleep(0.001)


def guard(name: str) -> None:
    """Wait for the end of the process that started this one, and tidy up."""
    for name_of in ("SIGINT", "SIGTERM", "SIGHUP"):  # by name, for not every system has the last
        signal.signal(getattr(signal, name_of), signal.SIG_IGN)
    told, watched = b"", [0]
    if hasattr(os, "pidfd_open"):  # what the other has forked may hold the pipe open
        with contextlib.suppress(OSError):
            watched.append(os.pidfd_open(os.getppid()))
    while True:
        ready, _, _ = select.select(watched, [], [])
        chunk = os.read(0, 1 << 16) if 0 in ready else b""
        told += chunk
        if not chunk:
            break
    end(f"{name}.")
    for folder in filter(None, told.split(b"\0")):
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    guard(sys.argv[1])
