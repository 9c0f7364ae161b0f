"""What the system counts while something is measured: time that was lost, switches, frequency, throttling.

All of it is Linux's. What a system does not say is None.
"""

from __future__ import annotations

import os
import re
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_inferena import system
from pytest_inferena.machine.asking import field, text

if TYPE_CHECKING:
    from collections.abc import Iterator

PROC = Path("/proc")
CPUS = Path("/sys/devices/system/cpu")
RESOURCES = ("cpu", "io", "memory")
STEAL = 7
"""Where /proc/stat has the time that the host gave to others. What follows it is counted before it too."""


class Counters(NamedTuple):
    """What was counted up to a moment."""

    seconds: float
    ticks: tuple[int, int] | None
    """Of the budget's CPUs: those that were stolen, and all."""
    stalled: dict[str, int]
    """Microseconds in which something waited for a resource, by its name."""
    switches: int | None
    migrations: int | None
    throttled: int | None


def load() -> float | None:
    """Processes that ran or wanted to, over the last minute."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def frequency(threads: int) -> float | None:
    """MHz of the budget's CPUs at this moment: their mean."""
    found = [_whole(file) for file in _files("cpufreq/scaling_cur_freq", threads)]
    known = [kilohertz for kilohertz in found if kilohertz]
    return round(statistics.mean(known) / 1000) if known else None


def count(threads: int, process: int | None = None) -> Counters:
    """Read all counters.

    Args:
        threads: the budget, whose CPUs are looked at.
        process: whose threads' switches and migrations are counted.
    """
    own = [(text(task / "status"), text(task / "sched")) for task in _tasks(process)] if process else []
    throttled = [_whole(file) for file in _files("thermal_throttle/core_throttle_count", threads)]
    stalled = {name: micros for name in RESOURCES if (micros := _stalled(name)) is not None}
    return Counters(
        time.monotonic(), _ticks(threads), stalled,
        _sum([_number(status, "nonvoluntary_ctxt_switches") for status, _ in own]),
        _sum([_number(sched, r"se\.nr_migrations") for _, sched in own]), _sum(throttled),
    )  # fmt: skip


def worked(process: int) -> int | None:
    """Nanoseconds for which the threads of a process have had a CPU."""
    found = [text(task / "schedstat").split() for task in _tasks(process)]
    return _sum([int(fields[0]) for fields in found if fields])


def between(before: Counters, after: Counters) -> dict[str, Any]:
    """What happened from one moment to a later one, as fields of `Noise`."""
    wall = max(after.seconds - before.seconds, 1e-9)
    stolen = all_of = 0
    if before.ticks and after.ticks:
        stolen, all_of = (late - early for early, late in zip(before.ticks, after.ticks, strict=True))
    stalls = {name: late - before.stalled.get(name, late) for name, late in after.stalled.items()}
    counted = ("switches", "migrations", "throttled")
    return {
        "steal": round(max(stolen, 0) / all_of, 4) if all_of > 0 else None,
        "pressure": {name: round(min(max(lost, 0) / 1e6 / wall, 1), 4) for name, lost in stalls.items()},
        **{name: _more(getattr(before, name), getattr(after, name)) for name in counted},
    }


def _whole(file: Path) -> int | None:
    """The whole number that a file holds."""
    found = text(file).strip()
    return int(found) if found.isdecimal() else None


def _files(name: str, threads: int) -> list[Path]:
    return [CPUS / f"cpu{cpu}" / name for cpu in system.cpus(threads)]


def _ticks(threads: int) -> tuple[int, int] | None:
    """Those that were stolen from the budget's CPUs, and all; None where the system does not say."""
    lines = dict(re.findall(r"^cpu(\d+) +(.*)$", text(PROC / "stat"), re.MULTILINE))
    own = [lines[name] for cpu in system.cpus(threads) if (name := str(cpu)) in lines]
    rows = [[*map(int, line.split())] for line in own]
    if not rows or any(len(row) <= STEAL for row in rows):
        return None
    return sum(row[STEAL] for row in rows), sum(sum(row[: STEAL + 1]) for row in rows)


def _stalled(resource: str) -> int | None:
    found = re.search(r"^some .*\btotal=(\d+)", text(PROC / "pressure" / resource), re.MULTILINE)
    return int(found[1]) if found else None


def _tasks(process: int) -> Iterator[Path]:
    """A folder for each thread of a process."""
    return (PROC / str(process) / "task").glob("[0-9]*")


def _number(document: str, name: str) -> int | None:
    found = field(document, name)
    return int(found) if found.isdecimal() else None


def _sum(found: list[int | None]) -> int | None:
    known = [number for number in found if number is not None]
    return sum(known) if known else None


def _more(before: int | None, after: int | None) -> int | None:
    """By how much a counter grew. Threads that have ended took theirs with them."""
    return None if before is None or after is None else max(after - before, 0)
