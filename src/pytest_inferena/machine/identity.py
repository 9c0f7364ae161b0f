"""What tells machines apart whose processors have the same name."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from pathlib import Path

from pytest_inferena.machine.asking import run, text

PROC, CPUS, NODES = Path("/proc"), Path("/sys/devices/system/cpu"), Path("/sys/devices/system/node")
FIELDS = (
    "vendor_id", "cpu family", "model", "model name", "stepping", "cache size", "flags",
    "CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision", "Features",
)  # fmt: skip
"""Of /proc/cpuinfo, on x86 and on ARM. Frequency, which it has too, changes all the time."""


def identity() -> str:
    """A name for the hardware, the same for the same hardware: 16 hexadecimal digits.

    It depends on the processor's family, model, stepping and flags, on the sizes of its caches, the limits of its
    frequency, the number of CPUs and of NUMA nodes. How fast it is when it is measured is not in it.
    """
    found = {"darwin": _darwin, "win32": _windows}.get(sys.platform, _linux)()
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:16]


def _linux() -> dict[str, object]:
    first = text(PROC / "cpuinfo").partition("\n\n")[0]
    known = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}
    cpu = CPUS / "cpu0"
    levels = sorted((cpu / "cache").glob("index*"))
    return {
        "processor": {name: known[name] for name in FIELDS if name in known},
        "caches": [[text(level / name).strip() for name in ("level", "type", "size")] for level in levels],
        "frequency": [text(cpu / "cpufreq" / f"cpuinfo_{end}_freq").strip() for end in ("min", "max")],
        "cpus": os.cpu_count(),
        "nodes": len([*NODES.glob("node[0-9]*")]),
    }


def _darwin() -> dict[str, object]:
    asked = ("hw.model", "hw.ncpu", "hw.l1dcachesize", "hw.l2cachesize", "hw.perflevel0.physicalcpu", "machdep.cpu")
    said = run("sysctl", *asked)
    return {"sysctl": sorted(line for line in said.splitlines() if not re.search("microcode|tsc", line))}


def _windows() -> dict[str, object]:
    names = ("PROCESSOR_IDENTIFIER", "PROCESSOR_LEVEL", "PROCESSOR_REVISION", "NUMBER_OF_PROCESSORS")
    return {name: os.environ.get(name, "") for name in names}
