"""What would make this machine quieter, each with its command. Only what applies here is said; all of it is Linux's."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pytest_inferena.machine import counters
from pytest_inferena.machine.asking import text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_inferena.machine.quiet import Quiet

SYSTEMD = Path("/run/systemd/system")
CONTROLLERS = Path("/sys/fs/cgroup/cgroup.controllers")
LOST = 0.01
"""The share of time from which on somebody else's work is worth a word."""
ROOM = 3
"""With so many cores, one can be left to everything else."""


class Advice(NamedTuple):
    """One thing to do."""

    name: str
    why: str
    """What was found, and what it does to figures."""
    command: str


def advise(quiet: Quiet) -> list[Advice]:
    """What applies to this machine, as it is set up now.

    Args:
        quiet: what was found while it was listened to.
    """
    if sys.platform != "linux":
        return []
    own = sorted(os.sched_getaffinity(0))
    found = [_busy(quiet), _stolen(quiet), _governor(own), _turbo(quiet), _smt(), _pinning(own), _isolated(own)]
    return [one for one in found if one]


def _busy(quiet: Quiet) -> Advice | None:
    waited = quiet.noise["pressure"].get("cpu", 0)
    why = f"something else wanted the same CPUs for {waited:.0%} of the time; see what it is, and end it"
    return Advice("others", why, "ps -eo pcpu,pid,args --sort=-pcpu | head") if waited > LOST else None


def _stolen(quiet: Quiet) -> Advice | None:
    stolen = quiet.noise["steal"] or 0
    why = f"the host gave {stolen:.0%} of the time to others, and nothing here changes that; several processes show it"
    return Advice("steal", why, "pytest benchmarks --inferena-processes=5") if stolen > LOST else None


def _governor(own: list[int]) -> Advice | None:
    files = [counters.CPUS / f"cpu{cpu}" / "cpufreq" / "scaling_governor" for cpu in own]
    others = sorted({name for file in files if (name := text(file).strip())} - {"performance"})
    if not others:
        return None
    why = f"the governor is {', '.join(others)}: a CPU that was idle begins slowly"
    every = counters.CPUS / "cpu*" / "cpufreq" / "scaling_governor"
    return Advice("governor", why, f"echo performance | sudo tee {every}")


def _turbo(quiet: Quiet) -> Advice | None:
    hot = quiet.noise["throttled"]
    why = "turbo is on: the frequency depends on heat, and on how many cores are busy"
    why += f"; they were throttled {hot} times meanwhile" if hot else ""
    for name, on, off in (("intel_pstate/no_turbo", "0", "1"), ("cpufreq/boost", "1", "0")):
        if text(counters.CPUS / name).strip() == on:
            return Advice("turbo", why, f"echo {off} | sudo tee {counters.CPUS / name}")
    return None


def _smt() -> Advice | None:
    if text(counters.CPUS / "smt" / "active").strip() != "1":
        return None
    why = "SMT is on: two CPUs share a core, and what one does slows down the other"
    return Advice("smt", why, f"echo off | sudo tee {counters.CPUS / 'smt' / 'control'}")


def _pinning(own: list[int]) -> Advice | None:
    """One CPU of each core, and the first core left to interrupts and to everything else, where there are some."""
    cores = _cores(own)
    if len(cores) < ROOM or len(own) < (os.cpu_count() or 1):
        return None
    why = "all CPUs are used, also those that share a core, and the first one, which has most interrupts"
    return Advice("pinning", why, f"taskset -c {_written(cores[1:])} pytest benchmarks")


def _isolated(own: list[int]) -> Advice | None:
    listed, cores = text(counters.CPUS / "isolated").strip(), _cores(own)
    isolated = _read(listed)
    if len(isolated & {*own}) > 1:
        rest = [cpu for cpu in own if cpu not in isolated]
        why = f"the CPUs {listed} are isolated: the kernel moves no thread to another, so several may share one"
        return Advice("isolated cores", why, f"taskset -c {_written(rest or own[:1])} pytest benchmarks")
    if isolated or len(cores) < ROOM or not SYSTEMD.exists() or "cpuset" not in text(CONTROLLERS).split():
        return None
    why = "no core is kept free of other processes; until the next start of the machine:"
    slices = " && ".join(
        f"sudo systemctl set-property --runtime {name}.slice AllowedCPUs={cores[0]}" for name in ("system", "user")
    )
    scope = f"systemd-run --scope --slice=inferena -p AllowedCPUs={_written(cores[1:])}"
    return Advice("isolated cores", why, f'{slices} && sudo env "PATH=$PATH" {scope} --uid="$USER" pytest benchmarks')


def _cores(own: list[int]) -> list[int]:
    """The first CPU of each core."""
    siblings = [text(counters.CPUS / f"cpu{cpu}" / "topology" / "thread_siblings_list") for cpu in own]
    return sorted({min(_read(found) or {cpu}) for cpu, found in zip(own, siblings, strict=True)} & {*own})


def _read(listed: str) -> set[int]:
    """The CPUs of a list as the kernel writes it, such as `0-3,8`."""
    ranges = [part.partition("-") for part in listed.strip().split(",") if part]
    return {cpu for first, _, last in ranges for cpu in range(int(first), int(last or first) + 1)}


def _written(cpus: Iterable[int]) -> str:
    return ",".join(map(str, cpus))
