"""What a process takes of memory at its peak, with all that it has started, over what it took while it was idle.

It is Linux's: /proc/PID/clear_refs brings a process's peak back to what it takes now.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PROC = Path("/proc")
FORGET = "5"
"""What is written to clear_refs for that (proc(5))."""
SILENT = "the system does not say what a process takes at its peak, as Linux does"
KEPT = "the system does not let a peak begin anew: /proc/PID/clear_refs cannot be written"
_RESIDENT = re.compile(rb"^VmRSS:\s+(\d+) kB", re.MULTILINE)
_PEAK = re.compile(rb"^VmHWM:\s+(\d+) kB", re.MULTILINE)
_SHARE = re.compile(rb"^Pss:\s+(\d+) kB", re.MULTILINE)


class Memory:
    """Resident memory of a process and those that it starts. It is idle when this is made."""

    def __init__(self, family: Callable[[], list[int]]) -> None:
        self._family = family
        there = family()
        self._resident, self._share = _sum(there, "status", _RESIDENT), _sum(there, "smaps_rollup", _SHARE)
        self._several, self._begun = len(there) > 1, False

    def begin(self) -> None:
        """From now on peaks count."""
        self._begun = all(map(_begun, self._family()))

    def peak(self) -> int | str:
        """The most that was taken since, over what was taken idle, in bytes; or why nobody knows.

        Peaks of several processes are added up, less what they share now: its pages are counted in each of them, and
        a process's proportional share (PSS) has a part of them. A process that has ended counts no more.
        """
        there = self._family()
        most = _sum(there, "status", _PEAK)
        if not most or not self._resident:
            return SILENT
        if not self._begun:
            return KEPT
        if not self._several and len(there) == 1:
            return max(most - self._resident, 0) << 10
        shared = _sum(there, "status", _RESIDENT) - _sum(there, "smaps_rollup", _SHARE)
        return max(most - shared - self._share, 0) << 10


def _begun(process: int) -> bool:
    try:
        (PROC / str(process) / "clear_refs").write_text(FORGET)
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return True
    except OSError:
        return False
    return True


def kib(process: int, name: str, pattern: re.Pattern[bytes]) -> int:
    """The sum of some figures that the kernel has of a process; 0 if it is gone."""
    try:
        text = (PROC / str(process) / name).read_bytes()
    except OSError:
        return 0
    return sum(int(found) for found in pattern.findall(text))


def _sum(processes: list[int], name: str, pattern: re.Pattern[bytes]) -> int:
    return sum(kib(process, name, pattern) for process in processes)
