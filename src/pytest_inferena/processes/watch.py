"""Keeps a process that a run starts within its limits.

The kernel keeps those of files. Memory and processes are counted while somebody waits for the process, together with
all that it has started. A limit of address space would not do: CUDA and JAX reserve far more than they use.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_inferena.engines.limits import GIB, in_adapter, written
from pytest_inferena.processes import marks
from pytest_inferena.processes.memory import kib

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from pytest_inferena.engines.limits import Limits

FASTEST = 8 * GIB
"""Bytes a second that a process is thought to take: the less is left to the limit, the sooner it is looked at again."""
SHORTEST, LONGEST = 0.02, 1.0
"""Seconds from one look to the next."""
SHARE = 0.1
"""The most that looking takes of a processor."""
_HELD = re.compile(rb"^(?:RssAnon|RssShmem|VmSwap):\s+(\d+) kB", re.MULTILINE)
_SHARED_OUT = re.compile(rb"^(?:Pss_Anon|Pss_Shmem|SwapPss):\s+(\d+) kB", re.MULTILINE)


class Watch:
    """Keeps a process within its limits, with all that it starts. It is made first: who is there then is not its."""

    def __init__(self, limits: Limits, mark: str) -> None:
        self.limits, self._mark = limits, mark
        self._others = marks.living()
        self._process = 0
        self._done = threading.Event()
        self.broken: tuple[str, str] | None = None
        """The outcome and the words for the limit that was passed."""

    def started(self, process: subprocess.Popen[bytes]) -> None:
        """Set the limits that the kernel keeps. If it has to end somebody for want of memory, it takes this one."""
        self._process = process.pid
        if sys.platform == "linux":
            import resource

            with contextlib.suppress(OSError, ValueError):  # it has ended, or its limits are lower already
                _lower(process.pid, resource.RLIMIT_CORE, 0)  # a core of many GiB would outlast each deadline
                _lower(process.pid, resource.RLIMIT_NOFILE, self.limits.files)
                if self.limits.file is not None:
                    _lower(process.pid, resource.RLIMIT_FSIZE, self.limits.file)
                Path(f"/proc/{process.pid}/oom_score_adj").write_text("1000")

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Count memory and processes while this runs, in a thread: whoever waits for an answer sleeps."""
        if sys.platform != "linux":
            yield
            return
        self._done.clear()
        thread = threading.Thread(target=self._watch, name="inferena-limits", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._done.set()
            thread.join()

    def _watch(self) -> None:
        if sys.platform == "win32":
            return
        wait = SHORTEST
        while not self._done.wait(wait):
            before = time.thread_time()
            family = self.family()
            taken = sum(kib(process, "status", _HELD) for process in family) << 10
            limit = self.limits.memory
            if limit is not None and taken > limit:  # what is shared after a fork was counted twice
                taken = sum(kib(process, "smaps_rollup", _SHARED_OUT) for process in family) << 10 or taken
            if limit is not None and taken > limit:
                remedy = f"--inferena-memory=SIZE, or {in_adapter('memory')}"
                self.broken = "oom", f"it took {written(taken)} of memory, and its limit is {written(limit)}; {remedy}"
            elif len(family) > self.limits.processes:
                words = f"it has {len(family)} processes, and its limit is {self.limits.processes}"
                self.broken = "error", f"{words}; {in_adapter('processes')}"
            if self.broken:
                with contextlib.suppress(OSError):
                    os.kill(self._process, signal.SIGKILL)
                marks.end(self._mark)
                return
            wait = pause(None if limit is None else limit - taken, time.thread_time() - before)

    def family(self) -> list[int]:
        """The process and all that it has started."""
        there = marks.living()
        self._others &= there  # a number that is free again may become one of its own
        found = [self._process, *marks.carriers(self._mark, there - self._others - {self._process})]
        return [process for process in found if process in there]


def pause(left: int | None, took: float) -> float:
    """How long until the next look.

    Args:
        left: bytes that may still be taken; None without a limit.
        took: processor seconds that the last look took.

    Returns:
        seconds: the fewer bytes are left the shorter, and never so short that looking takes more than its share.
    """
    soon = LONGEST if left is None else left / FASTEST
    return min(max(SHORTEST, soon, took / SHARE), LONGEST)


def _lower(process: int, kind: int, most: int) -> None:
    """Lower a limit of a process; it may be lower already."""
    import resource

    if sys.platform == "linux":
        now = resource.prlimit(process, kind)
        both = [most if limit == resource.RLIM_INFINITY else min(limit, most) for limit in now]
        resource.prlimit(process, kind, (both[0], both[1]))
