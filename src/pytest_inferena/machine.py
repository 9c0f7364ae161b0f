"""What machine this is: its processor, memory, devices and system, found out in a few milliseconds."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_inferena.system import memory_mib

if TYPE_CHECKING:
    from pytest_inferena.results import Platform

_NVIDIA = Path("/proc/driver/nvidia")
_NOISE = re.compile(r"\((?:r|tm|c)\)|\b(?:cpu|processor|with)\b|[^a-z0-9.]+", re.IGNORECASE)


def describe() -> Platform:
    """Describe this machine for the header of a run."""
    from pytest_inferena.results import Platform  # here: the preparer asks for memory only, and depends on no results

    cpu = _cpu()
    gpus, driver = _nvidia()
    return Platform(
        id=machine_id(cpu, os.cpu_count() or 1),
        cpu=cpu,
        os=_system(),
        memory_mib=memory_mib(),
        devices=("cpu", *gpus),
        driver=driver,
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
    listed = re.search(r"^(?:flags|Features)\s*:.*", _text(Path("/proc/cpuinfo")), re.MULTILINE)
    return listed[0] if listed else f"{platform.machine()} {platform.processor()}"


def memory_gib() -> int | None:
    """Whole GiB of memory that this machine has; None where the system does not say."""
    found = memory_mib()
    return None if found is None else found // 1024


def commit(folder: Path) -> str | None:
    """Name the commit checked out in a folder: `1a2b3c4`, `1a2b3c4-dirty` with changes, None without git."""
    # --exclude: never a tag's name; the answer is rev-parse's short hash and the state of tracked files.
    found = _run("git", "-C", str(folder), "describe", "--always", "--dirty", "--exclude=*")
    return found or None


def _cpu() -> str:
    if sys.platform == "darwin":
        name = _run("sysctl", "-n", "machdep.cpu.brand_string")
    elif sys.platform == "win32":
        name = platform.processor()
    else:
        name = _field(_text(Path("/proc/cpuinfo")), "model name") or _text(Path("/proc/device-tree/model"))
    return " ".join(name.replace("\0", "").split()) or platform.machine() or "unknown CPU"


def _system() -> str:
    kernel = f"{platform.system()} {platform.release()} {platform.machine()}"
    if sys.platform == "darwin":
        return f"macOS {platform.mac_ver()[0]} ({kernel})"
    try:
        return f"{platform.freedesktop_os_release()['PRETTY_NAME']} ({kernel})"
    except (OSError, KeyError):
        return kernel


def _nvidia() -> tuple[list[str], str | None]:
    """List the GPUs' names in the driver's order, and the driver's version; /proc answers without a process."""
    files = sorted((_NVIDIA / "gpus").glob("*/information"))
    names = [name for file in files if (name := _field(_text(file), "Model"))]
    version = re.search(r"Module(?: for \S+)?\s+(\d[\d.]*)", _text(_NVIDIA / "version"))
    if names and version:
        return names, version[1]
    if shutil.which("nvidia-smi") is None:
        return names, version[1] if version else None
    table = _run("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
    rows = [line.rsplit(",", 1) for line in table.splitlines() if "," in line]
    return [name.strip() for name, _ in rows], rows[0][1].strip() if rows else None


def _field(text: str, name: str) -> str:
    found = re.search(rf"^{name}\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _run(*command: str) -> str:
    """Return what a command prints, or nothing where it is missing, fails, or takes longer than 5 s."""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=5,
            check=True,
            env=environment,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
