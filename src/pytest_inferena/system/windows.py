"""Windows: handles in place of descriptors, a job in place of a process group, NTSTATUS in place of signals."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
from ctypes import wintypes
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

assert sys.platform == "win32" or not TYPE_CHECKING  # noqa: S101 - a type checker then knows what is there

KILL_ON_CLOSE = 0x2000
"""JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE: the job ends with whoever holds it, so that no worker outlives its session."""
EXTENDED_LIMITS = 9
"""JobObjectExtendedLimitInformation."""
STATUSES = {
    0xC0000005: "access violation",
    0xC000001D: "illegal instruction: it was built for instructions that this processor lacks",
    0xC0000094: "integer division by zero",
    0xC00000FD: "stack overflow",
    0xC0000135: "a DLL that was not found",
    0xC0000374: "heap corruption",
    0xC0000409: "abort",
}
NO_MEMORY = {0xC0000017: "no memory", 0xC000012D: "commitment limit"}


class Limits(ctypes.Structure):
    """JOBOBJECT_EXTENDED_LIMIT_INFORMATION."""

    _fields_ = (
        ("per_process_time", ctypes.c_int64), ("per_job_time", ctypes.c_int64), ("flags", ctypes.c_uint32),
        ("minimum_working_set", ctypes.c_size_t), ("maximum_working_set", ctypes.c_size_t),
        ("active_processes", ctypes.c_uint32), ("affinity", ctypes.c_size_t),
        ("priority", ctypes.c_uint32), ("scheduling", ctypes.c_uint32), ("counters", ctypes.c_uint64 * 6),
        ("process_memory", ctypes.c_size_t), ("job_memory", ctypes.c_size_t),
        ("peak_process_memory", ctypes.c_size_t), ("peak_job_memory", ctypes.c_size_t),
    )  # fmt: skip


class Memory(ctypes.Structure):
    """MEMORYSTATUSEX."""

    _fields_ = (("length", ctypes.c_uint32), ("load", ctypes.c_uint32), ("sizes", ctypes.c_uint64 * 7))


def kernel() -> Any:
    """kernel32.dll, whose calls return handles that are not cut to 32 bits."""
    found = ctypes.WinDLL("kernel32", use_last_error=True)
    found.CreateJobObjectW.restype = wintypes.HANDLE
    return found


def handover(descriptor: int) -> int:
    """The number under which a child that has inherited a file descriptor finds it: the handle's."""
    import msvcrt

    return msvcrt.get_osfhandle(descriptor)


@contextlib.contextmanager
def inherited(*descriptors: int) -> Iterator[dict[str, Any]]:
    """Arguments for `Popen`: the child gets these descriptors' handles and no other, and Ctrl-C is not for it."""
    handles = [handover(descriptor) for descriptor in descriptors]
    for handle in handles:
        os.set_handle_inheritable(handle, True)
    try:
        startup = subprocess.STARTUPINFO(lpAttributeList={"handle_list": handles})
        yield {"startupinfo": startup, "creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    finally:
        for handle in handles:
            os.set_handle_inheritable(handle, False)


class Group:
    """A process, and all that it starts once it is in the job."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._kernel = kernel()
        limits = Limits(flags=KILL_ON_CLOSE)
        self._job = wintypes.HANDLE(self._kernel.CreateJobObjectW(None, None))
        self._kernel.SetInformationJobObject(self._job, EXTENDED_LIMITS, ctypes.byref(limits), ctypes.sizeof(limits))
        self._kernel.AssignProcessToJobObject(self._job, wintypes.HANDLE(int(vars(process)["_handle"])))

    def kill(self) -> None:
        """End all of them."""
        self._kernel.TerminateJobObject(self._job, 1)
        self._kernel.CloseHandle(self._job)


def ending(status: int) -> tuple[str, str]:
    """What a process's exit status says.

    Returns:
        oom, aborted or exited; and the words for it.
    """
    code = status % 2**32
    if code in NO_MEMORY:
        return "oom", f"ended by Windows: {NO_MEMORY[code]} (0x{code:08X})"
    if code in STATUSES:
        return "aborted" if STATUSES[code] == "abort" else "exited", f"killed by {STATUSES[code]} (0x{code:08X})"
    return "exited", f"exited with status {status}"


def cpus(threads: int) -> list[int]:  # noqa: ARG001 - as on other systems
    """The CPUs to which a process with so many threads is bound; none."""
    return []


def joined(words: Sequence[str]) -> str:
    """A command line that a shell takes apart into these words."""
    return subprocess.list2cmdline(words)


def is_root() -> bool:
    """Whether this process may install packages of the system, which there are none of."""
    return False


def memory_mib() -> int | None:
    """The machine's memory; None where the system does not say."""
    found = Memory(length=ctypes.sizeof(Memory))
    return int(found.sizes[0]) // 2**20 if kernel().GlobalMemoryStatusEx(ctypes.byref(found)) else None


def memory_limit() -> int | None:
    """Bytes that all processes may take together."""
    total = memory_mib()
    return None if total is None else total << 20
