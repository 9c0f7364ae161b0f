"""The devices beside the CPU: which there are, and why a kind of them is not. No framework is asked.

What is asked for every run (`nvidia`, `absent`, `has_gpu`) are files, and one program where a driver has no files.
`listed`, which `inferena doctor` shows, also lets Vulkan's and OpenCL's drivers answer, in a process of their own.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pytest_inferena.machine.asking import field, run, text

KINDS = (
    "cuda", "rocm", "mps", "metal", "xpu", "vulkan", "webgpu", "opencl", "coreml", "directml", "tensorrt", "migraphx",
    "npu",
)  # fmt: skip
"""What adapters may call a device, or a backend that stands for one. Each is a marker, whichever engines there are."""
THROUGH_DRIVERS = frozenset({"vulkan", "webgpu", "opencl"})
"""Devices that a driver may put on the CPU: Mesa's llvmpipe, POCL."""
SOFTWARE = re.compile(r"llvmpipe|lavapipe|swiftshader|\bpocl\b|microsoft basic render|software device", re.IGNORECASE)
_NVIDIA = Path("/proc/driver/nvidia")
_DRM = Path("/sys/class/drm")
_BUS = Path("/sys/bus/pci/devices")
_KFD = Path("/dev/kfd")
_DXG = Path("/dev/dxg")
_VENDORS = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}
_ASK_DRIVERS = Path(__file__).parent / "drivers.py"
_SMI = ("name", "memory.total", "driver_version", "compute_cap")


class Device(NamedTuple):
    """One device as one of its drivers shows it."""

    api: str
    """The driver's: `cuda`, `vulkan`, `opencl`, `metal`; `pci` where only the kernel knows it."""
    name: str
    memory_mib: int | None = None
    driver: str = ""
    software: bool = False
    """Whether the CPU does its work."""

    def __str__(self) -> str:
        facts = [f"{self.memory_mib} MiB" if self.memory_mib else "", self.driver, self.api]
        return ", ".join([self.name, *filter(None, facts), *(["a software device"] if self.software else [])])


def software(name: str) -> bool:
    """Whether a device is the CPU in disguise, by the name that its driver gives it."""
    return SOFTWARE.search(name) is not None


class Nvidia(NamedTuple):
    """NVIDIA's GPUs in the order of their places on the bus, and the driver's version."""

    names: tuple[str, ...]
    driver: str | None
    identities: tuple[str, ...]
    """UUIDs, or the numbers where only nvidia-smi answers."""


@cache
def nvidia() -> Nvidia:
    """What the driver says: /proc answers without a process."""
    files = map(text, sorted((_NVIDIA / "gpus").glob("*/information")))
    cards = [(name, field(file, "GPU UUID")) for file in files if (name := field(file, "Model"))]
    version = re.search(r"Module(?: for \S+)?\s+(\d[\d.]*)", text(_NVIDIA / "version"))
    driver = version[1] if version else None
    if not (cards and driver) and (rows := _smi()):
        cards, driver = [(row[0], "") for row in rows], rows[0][2]
    identities = (uuid or str(number) for number, (_, uuid) in enumerate(cards))
    return Nvidia(tuple(name for name, _ in cards), driver, tuple(identities))


def absent(kind: str) -> str:
    """Why this machine has no device of a kind; "" if it has, or if only the engine can tell."""
    if kind in {"cuda", "tensorrt"} and not nvidia().names:
        if idle := next(iter(_on_the_bus("0x10de")), ""):
            return f"no driver: there is an NVIDIA GPU at {idle}, which no driver shows; install NVIDIA's"
        return "no NVIDIA GPU: neither /proc/driver/nvidia nor nvidia-smi names one"
    if sys.platform != "linux":
        return ""
    if kind in {"rocm", "migraphx"} and not _KFD.exists():
        return f"no AMD GPU for ROCm: there is no {_KFD}, which the kernel's module amdgpu makes"
    if kind == "xpu" and "Intel" not in pci().values() and not _DXG.exists():
        return f"no Intel GPU: {_DRM} has none"
    return ""


@cache
def has_gpu() -> bool:
    """Whether Vulkan, WebGPU and OpenCL can find a real GPU here: where a system does not say, that is believed."""
    return sys.platform != "linux" or bool(pci()) or _DXG.exists() or bool(nvidia().names)


def listed() -> list[Device]:
    """Every device, as often as it has drivers. A driver that crashes shows none."""
    found = [Device("cuda", row[0], _whole(row[1]), f"driver {row[2]}, compute capability {row[3]}") for row in _smi()]
    if not found:
        found += [Device("cuda", name, None, f"driver {nvidia().driver}") for name in nvidia().names]
    if sys.platform == "darwin" and (name := run("sysctl", "-n", "machdep.cpu.brand_string")).startswith("Apple"):
        found.append(Device("metal", name))
    found += [Device("pci", f"{vendor} GPU {card}") for card, vendor in pci().items() if vendor != "NVIDIA"]
    for api in ("vulkan", "opencl"):
        answer = run(sys.executable, "-I", str(_ASK_DRIVERS), api).splitlines()  # a driver may have printed before
        for row in json.loads(answer[-1]) if answer else ():
            by_name = software(f"{row['name']} {row['driver']}")
            found.append(Device(api, row["name"], row["memory_mib"], row["driver"], row["cpu"] or by_name))
    return found


def _smi() -> list[list[str]]:
    """What NVIDIA's program says of each GPU: name, MiB, driver, compute capability."""
    if shutil.which("nvidia-smi") is None:
        return []
    table = run("nvidia-smi", f"--query-gpu={','.join(_SMI)}", "--format=csv,noheader,nounits")
    rows = [[cell.strip() for cell in line.rsplit(",", len(_SMI) - 1)] for line in table.splitlines()]
    return [row for row in rows if len(row) == len(_SMI)]


def pci() -> dict[str, str]:
    """Graphics cards that the kernel of Linux has a driver for: their names there, such as `card0`, and vendors."""
    cards = ((card.name, text(card / "device" / "vendor").strip()) for card in sorted(_DRM.glob("card[0-9]*")))
    return {name: _VENDORS[vendor] for name, vendor in cards if vendor in _VENDORS}


def _on_the_bus(vendor: str) -> list[str]:
    """Places on the bus of a vendor's graphics cards, which have the class 03, as the kernel of Linux sees them."""
    cards = (card for card in sorted(_BUS.glob("*")) if text(card / "class").startswith("0x03"))
    return [card.name for card in cards if text(card / "vendor").strip() == vendor]


def _whole(number: str) -> int | None:
    return int(number) if number.isdecimal() else None
