"""Linux and macOS."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Sequence

assert sys.platform != "win32"  # noqa: S101 - a type checker then knows what is there

handover = int
"""The number under which a child that has inherited a file descriptor finds it."""


@contextlib.contextmanager
def inherited(*descriptors: int) -> Iterator[dict[str, Any]]:
    """Arguments for `Popen`: the child gets these descriptors, and leads a session of its own."""
    yield {"pass_fds": descriptors, "start_new_session": True}


class Group:
    """A process that leads a session, and all that it has started."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def kill(self) -> None:
        """End all of them."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)


def ending(status: int) -> tuple[str, str]:
    """What a process's exit status says.

    Returns:
        killed, which the kernel does if memory runs out, aborted or exited; and the words for it.
    """
    if status >= 0:
        return "exited", f"exited with status {status}"
    kinds = {signal.SIGKILL: "killed", signal.SIGABRT: "aborted"}
    return kinds.get(-status, "exited"), f"killed by {_signal(-status)}"  # type: ignore[call-overload] # a number is one


def _signal(number: int) -> str:
    told = {
        signal.SIGILL: "SIGILL: it was built for instructions that this processor lacks",
        signal.SIGXFSZ: "SIGXFSZ: it wrote a larger file than 'file' of [limits] in adapter.toml allows",
    }
    if number in told:
        return told[signal.Signals(number)]
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have no name
        return f"signal {number}"


def cpus(threads: int) -> list[int]:
    """The CPUs on which a process with so many threads may run; none where the system cannot arrange that."""
    if sys.platform != "linux":
        return []
    return sorted(os.sched_getaffinity(0))[:threads]


def joined(words: Sequence[str]) -> str:
    """A command line that a shell takes apart into these words."""
    return shlex.join(words)


def is_root() -> bool:
    """Whether this process may install packages of the system."""
    return os.geteuid() == 0


def memory_mib() -> int | None:
    """The machine's memory; None where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    except (OSError, ValueError):
        return None


def memory_limit() -> int | None:
    """Bytes that all processes here may take together: the machine's memory, or less where a container has less."""
    total = memory_mib()
    return None if total is None else min(total << 20, *_of_cgroups())


def _of_cgroups() -> list[int]:
    """The limits of the control groups that this process is in, of either version; at least one."""
    found = [1 << 62]
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, kinds, path = line.split(":", 2)
            if kinds in {"", "memory"}:
                top, name = Path("/sys/fs/cgroup", kinds), "memory.limit_in_bytes" if kinds else "memory.max"
                group = top / path.lstrip("/")
                for folder in (group, *group.parents):  # outside of a container, those above are hidden
                    with contextlib.suppress(OSError, ValueError):  # there is none, or it is `max`
                        found.append(int((folder / name).read_text()))
    return found
