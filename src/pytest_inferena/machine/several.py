"""Several devices of a kind: which there are, and what lets a process see one of them only."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import NamedTuple

from pytest_inferena.machine import devices
from pytest_inferena.machine.asking import text
from pytest_inferena.ranges import RangeError, whole

FAMILIES = {"cuda": "cuda", "tensorrt": "cuda", "rocm": "rocm", "migraphx": "rocm", "xpu": "xpu"}
"""Kinds whose devices are one vendor's own, and what their numbers belong to."""
_MASKS = {
    "cuda": (("CUDA_VISIBLE_DEVICES",),),
    "rocm": (("ROCR_VISIBLE_DEVICES",), ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES")),
    "xpu": (("ZE_AFFINITY_MASK",), ("ONEAPI_DEVICE_SELECTOR",)),
}
"""The variables that hide devices, each counting those that the ones before it leave. A worker is told by the first
name of the last."""
_TOPOLOGY = Path("/sys/class/kfd/kfd/topology/nodes")


class DeviceError(ValueError):
    """There is no such device; the message names those there are."""


class Unit(NamedTuple):
    """One of the devices of a kind."""

    kind: str
    number: int
    """Among those that the user's environment leaves visible."""
    name: str = ""
    identity: str = ""
    """What no other device of this machine has; "" where nobody knows which card it is."""
    token: str = ""
    """What the kind's variable calls it; "" where the kind has no variable."""

    def __str__(self) -> str:
        return f"{self.kind}:{self.number}"

    def environment(self, variable: str = "") -> dict[str, str]:
        """What lets a worker see this device only.

        Args:
            variable: the backend's own, for kinds that have none.
        """
        if self.token:
            order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"} if self.kind == "cuda" else {}  # as nvidia-smi counts
            return {_MASKS[self.kind][-1][0]: self.token, **order}
        return {variable: str(self.number)} if variable else {}


def units(kind: str) -> list[Unit]:
    """The devices of a kind that the environment leaves visible; of kinds that nobody can count, none.

    Those of Vulkan, WebGPU and OpenCL are asked of their drivers, in a process.
    """
    family = FAMILIES.get(kind)
    if family is None:
        api = {"webgpu": "vulkan"}.get(kind, kind)
        found = [one.name for one in devices.listed() if one.api == api] if kind in devices.THROUGH_DRIVERS else []
        return [Unit(kind, number, name) for number, name in enumerate(found)]
    seen = [(str(number), identity, name) for number, (identity, name) in enumerate(_cards(family))]
    for mask in _MASKS[family]:
        given = next((os.environ[name] for name in mask if name in os.environ), None)
        counted = [(str(number), identity, name) for number, (_, identity, name) in enumerate(seen)]
        seen = counted if given is None else _left(counted, given)
    prefix = "level_zero:" if family == "xpu" else ""
    return [
        Unit(family, number, name, f"{family}-{identity}", token if ":" in token else prefix + token)
        for number, (token, identity, name) in enumerate(seen)
    ]


def alike(kind: str) -> list[Unit]:
    """The first device of a vendor's kind, and those of the same name: figures of one stand for all of them."""
    found = units(kind) if kind in FAMILIES else []
    return [one for one in found if one.name == found[0].name]


def named(word: str) -> Unit:
    """The device that a word such as `cuda:1` names.

    Raises:
        DeviceError: none.
    """
    kind, colon, number = word.partition(":")
    there = units(kind) if colon else []
    with contextlib.suppress(RangeError):
        return there[whole(kind, number, len(there) - 1, least=0)]
    kinds = dict.fromkeys([*FAMILIES.values(), *sorted(devices.THROUGH_DRIVERS)])
    known = ", ".join(f"{one} ({one.name})" for kind in kinds for one in units(kind))
    raise DeviceError(f"{word:.40}: no device has this name; there are {known or 'none that can be chosen'}")


def hidden(kind: str) -> str:
    """Why no device of a kind is left, although the machine has one; "" if that is not so."""
    family = FAMILIES.get(kind, "")
    if not family or not _cards(family) or units(kind):
        return ""
    given = [f"{name}={os.environ[name]!r}" for mask in _MASKS[family] for name in mask if name in os.environ]
    return f"every {family} device is hidden by {' and '.join(given)}"


def gone(unit: Unit | None) -> str:
    """What to say behind a failure: that a device which was there can't be found any more; "" if it can."""
    devices.nvidia.cache_clear()
    if unit is None or unit.kind not in FAMILIES or unit in units(unit.kind):
        return ""
    return f"; {unit} ({unit.name}) is gone: {devices.absent(unit.kind) or 'its driver does not list it any more'}"


def _left(seen: list[tuple[str, str, str]], given: str) -> list[tuple[str, str, str]]:
    """What a variable leaves of devices, as their runtimes read it: the first word that names none ends the list."""
    found = []
    for word in filter(None, (part.strip() for part in given.split(","))):
        number = re.fullmatch(r"(?:level_zero:)?(-?\d+)", word)
        try:
            place = whole(word, number[1], len(seen) - 1, least=0) if number else None
        except RangeError:
            break
        match = [one for one in seen if one[1].startswith(word)] if place is None else [seen[place]]
        found.append((word, *(match[0][1:] if match else (word, ""))))
    return found


def _cards(family: str) -> list[tuple[str, str]]:
    """Identity and name of each device that this machine has, in the order of its driver."""
    if family == "cuda":
        return [*zip(devices.nvidia().identities, devices.nvidia().names, strict=True)]
    if family == "rocm":
        nodes = sorted(_TOPOLOGY.glob("[0-9]*"), key=lambda node: int(node.name))
        cards = [node for node in nodes if text(node / "gpu_id").strip() not in {"", "0"}]
        return [(text(node / "gpu_id").strip(), _rocm_name(node)) for node in cards]
    return [(card, f"Intel GPU {card}") for card, vendor in devices.pci().items() if vendor == "Intel"]


def _rocm_name(node: Path) -> str:
    """The architecture by which ROCm calls a card: 90010 is gfx90a, 110000 is gfx1100."""
    found = re.search(r"^gfx_target_version (\d+)$", text(node / "properties"), re.MULTILINE)
    number = int(found[1]) if found else 0
    return f"AMD GPU gfx{number // 10000}{number // 100 % 100:x}{number % 100:x}" if number else "AMD GPU"
