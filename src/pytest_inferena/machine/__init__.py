"""What machine this is, found out in a few milliseconds; how fast and how quiet it is at a moment."""

from __future__ import annotations

import os
import platform
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_inferena.machine import devices, several
from pytest_inferena.machine.asking import field, run, text
from pytest_inferena.machine.identity import identity as identity_of
from pytest_inferena.system import memory_mib

if TYPE_CHECKING:
    from pytest_inferena.results import Platform

_NOISE = re.compile(r"\((?:r|tm|c)\)|\b(?:cpu|processor|with)\b|[^a-z0-9.]+", re.IGNORECASE)


def describe() -> Platform:
    """Describe this machine for the header of a run."""
    from pytest_inferena.results import Platform  # here: the preparer asks for memory only, and depends on no results

    cpu = _cpu()
    return Platform(
        id=machine_id(cpu, os.cpu_count() or 1),
        identity=identity_of(),
        cpu=cpu,
        os=_system(),
        memory_mib=memory_mib(),
        devices=("cpu", *(unit.name or str(unit) for unit in several.units("cuda"))),
        driver=devices.nvidia().driver,
        python=platform.python_version(),
    )


def machine_id(cpu: str, cores: int) -> str:
    """Name a kind of machine for file names: the CPU's model and its logical cores, `[a-z0-9.-]+`."""
    words = (word.strip(".-") for word in _NOISE.sub(" ", cpu.lower()).split())
    return "-".join([*filter(None, words), f"{cores}c"])


def thread_budget() -> int:
    """Count the logical CPUs that this process may use: the threads that every engine gets by default."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def instruction_sets() -> str:
    """The processor's instruction sets, on which compiled code depends; its kind where the system lists none."""
    listed = re.search(r"^(?:flags|Features)\s*:.*", text(Path("/proc/cpuinfo")), re.MULTILINE)
    return listed[0] if listed else f"{platform.machine()} {platform.processor()}"


def memory_gib() -> int | None:
    """Whole GiB of memory that this machine has; None where the system does not say."""
    found = memory_mib()
    return None if found is None else found // 1024


def commit(folder: Path, revision: str = "") -> str | None:
    """Name a commit: `1a2b3c4`. None without git, or where it knows no such revision.

    Args:
        folder: in the working tree.
        revision: a branch, a tag, a hash; "" is what is checked out, which with changes is `1a2b3c4-dirty`.
    """
    # --exclude: never a tag's name; the answer is rev-parse's short hash and the state of tracked files.
    asked = ["--end-of-options", f"{revision}^{{commit}}"] if revision else ["--dirty"]
    found = run("git", "-C", str(folder), "describe", "--always", "--exclude=*", *asked)
    return found or None


def _cpu() -> str:
    if sys.platform == "darwin":
        name = run("sysctl", "-n", "machdep.cpu.brand_string")
    elif sys.platform == "win32":
        name = platform.processor()
    else:
        name = field(text(Path("/proc/cpuinfo")), "model name") or text(Path("/proc/device-tree/model"))
    return " ".join(name.replace("\0", "").split()) or platform.machine() or "unknown CPU"


def _system() -> str:
    kernel = f"{platform.system()} {platform.release()} {platform.machine()}"
    if sys.platform == "darwin":
        return f"macOS {platform.mac_ver()[0]} ({kernel})"
    try:
        return f"{platform.freedesktop_os_release()['PRETTY_NAME']} ({kernel})"
    except (OSError, KeyError):
        return kernel
