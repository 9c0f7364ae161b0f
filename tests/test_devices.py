"""Tests of the devices beside the CPU: which are found, and the one line that says why one is not."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from pytest_inferena.cell import Cell, Outcome
from pytest_inferena.collect.target import ASKED_FOR, Target
from pytest_inferena.commands.cli import registry
from pytest_inferena.commands.doctor import state
from pytest_inferena.engines.description import Backend
from pytest_inferena.engines.framework import Framework
from pytest_inferena.machine import devices
from pytest_inferena.machine.devices import Device
from pytest_inferena.report.texts import note_text
from pytest_inferena.results import Record
from pytest_inferena.session import figures

ROOT = Path(__file__).parents[1]
LLVMPIPE = sorted(Path("/usr/share/vulkan/icd.d").glob("lvp_icd.*json"))
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="these are Linux's files")


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine without any device: its files would lie in this folder, and its programs too."""
    for name in ("_NVIDIA", "_DRM", "_BUS", "_KFD", "_DXG"):
        monkeypatch.setattr(devices, name, tmp_path / name)
    monkeypatch.setenv("PATH", str(tmp_path))
    for asked in (devices.nvidia, devices.has_gpu):
        asked.cache_clear()
    yield tmp_path
    for asked in (devices.nvidia, devices.has_gpu):
        asked.cache_clear()


def card(folder: Path, vendor: str) -> None:
    """Let Linux know a graphics card."""
    (folder / "_DRM" / "card0" / "device").mkdir(parents=True)
    (folder / "_DRM" / "card0" / "device" / "vendor").write_text(f"{vendor}\n")


def program(folder: Path, name: str, answer: str) -> None:
    """A program that prints an answer."""
    (folder / name).write_text(f"#!/bin/sh\necho '{answer}'\n")
    (folder / name).chmod(0o755)


@LINUX
@pytest.mark.parametrize(
    ("kind", "expected"), [("cuda", "no NVIDIA GPU"), ("rocm", "no AMD GPU"), ("xpu", "no Intel GPU")]
)
def test_a_device_that_is_not_there(kind: str, expected: str) -> None:
    """One line says which, before any engine is started."""
    assert devices.absent(kind).startswith(expected)


@LINUX
def test_a_device_that_is_there(bare: Path) -> None:
    """Nothing is missing then; what only an engine can tell is left to it."""
    program(bare, "nvidia-smi", "NVIDIA L4, 23034, 570.1, 8.9")
    (bare / "_KFD").touch()
    card(bare, "0x8086")

    assert ["", "", "", "", ""] == [devices.absent(kind) for kind in ("cuda", "rocm", "xpu", "vulkan", "cpu")]


@LINUX
def test_a_device_without_a_driver(bare: Path) -> None:
    """A graphics card that only the bus shows lacks its driver; another vendor's, or a sound card, says nothing."""
    for place, vendor, kind in (("01", "0x10de", "0x030200"), ("02", "0x10de", "0x040300"), ("03", "0x1002", "0x03")):
        (bare / "_BUS" / place).mkdir(parents=True)
        (bare / "_BUS" / place / "vendor").write_text(f"{vendor}\n")
        (bare / "_BUS" / place / "class").write_text(f"{kind}\n")
    expected = "no driver: there is an NVIDIA GPU at 01, which no driver shows; install NVIDIA's"
    before = devices.absent("cuda")
    (bare / "_BUS" / "01" / "class").write_text("0x040300\n")

    assert expected == before
    assert devices.absent("cuda").startswith("no NVIDIA GPU")


def test_devices_are_listed_with_memory_and_driver(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NVIDIA's by its program, others by the kernel, and what the drivers of Vulkan and OpenCL answer."""
    program(bare, "nvidia-smi", "NVIDIA H100, 80GB, 81559, 570.1, 9.0")
    card(bare, "0x1002")
    ask = bare / "drivers.py"
    mali = [{"name": "Mali", "memory_mib": 9, "driver": "panvk", "cpu": False}]
    ask.write_text(f"print('noise of a driver')\nprint({json.dumps(mali)!r})\n")
    monkeypatch.setattr(devices, "_ASK_DRIVERS", ask)
    monkeypatch.setattr(sys, "platform", "linux")
    expected = [
        Device("cuda", "NVIDIA H100, 80GB", 81559, "driver 570.1, compute capability 9.0"),
        Device("pci", "AMD GPU card0"),
        Device("vulkan", "Mali", 9, "panvk"),
        Device("opencl", "Mali", 9, "panvk"),
    ]

    assert expected == devices.listed()
    assert "NVIDIA H100, 80GB, 81559 MiB, driver 570.1, compute capability 9.0, cuda" == str(expected[0])


def test_a_driver_that_crashes_shows_no_device(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked in a process of its own, so that the others are shown."""
    ask = bare / "drivers.py"
    ask.write_text("import os\nos.abort()\n")
    monkeypatch.setattr(devices, "_ASK_DRIVERS", ask)

    assert [] == devices.listed()


@pytest.mark.skipif(not LLVMPIPE, reason="Mesa's driver for CPUs: install mesa-vulkan-drivers")
def test_vulkan_on_the_cpu_is_called_a_software_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mesa's llvmpipe is asked through Vulkan's loader, and is never taken for a GPU."""
    for name in ("VK_DRIVER_FILES", "VK_ICD_FILENAMES"):
        monkeypatch.setenv(name, str(LLVMPIPE[0]))
    [found] = [device for device in devices.listed() if device.api == "vulkan"]

    assert (True, True) == (found.software, (found.memory_mib or 0) > 0)
    assert str(found).startswith("llvmpipe")
    assert str(found).endswith("vulkan, a software device")


@pytest.mark.parametrize(
    ("ran", "expected"),
    [
        ("Vulkan on llvmpipe (LLVM 15.0.6, 256 bits)", True),
        ("wgpu on SwiftShader Device (Subzero)", True),
        ("ONNX Runtime, WebGpuExecutionProvider, a software device", True),
        ("Vulkan on NVIDIA L4", False),
        ("cuda on NVIDIA H100 80GB HBM3", False),
    ],
)
def test_software_is_told_by_the_name_that_ran(ran: str, expected: bool) -> None:
    """What an engine says of its device decides, whatever was found before."""
    assert expected == devices.software(ran)


@LINUX
@pytest.mark.parametrize(("vendor", "expected"), [("", True), ("0x10de", False), ("0x1234", True)])
def test_without_a_gpu_its_backends_are_software(bare: Path, vendor: str, expected: bool) -> None:
    """Only where the engine has another for CPUs; and a virtual machine's display is no GPU."""
    if vendor:
        card(bare, vendor)
    known = registry().frameworks
    [burn] = [one for one in known["burn"].backends if one.name == "wgpu"]
    [only] = known["meganeura"].backends

    assert (expected, False) == (known["burn"].in_software(burn), known["meganeura"].in_software(only))


def test_every_device_is_a_marker() -> None:
    """A kind that no engine here has can be selected too, and selects nothing."""
    assert [] == [kind for kind in devices.KINDS if kind not in registry().markers()]


@LINUX
@pytest.mark.parametrize(
    ("name", "backend", "expected"),
    [
        ("pytorch", "cuda", "no NVIDIA GPU"),
        ("pytorch", "rocm", "no AMD GPU"),
        ("pytorch", "xpu", "no Intel GPU"),
        ("jax", "cuda", "no NVIDIA GPU"),
        ("jax", "rocm", "no AMD GPU"),
        ("onnxruntime", "tensorrt", "no NVIDIA GPU"),
        ("onnxruntime", "coreml", "coreml is for darwin only"),
        ("onnxruntime", "directml", "directml is for win32 only"),
    ],
)
def test_a_backend_says_which_device_it_lacks(name: str, backend: str, expected: str) -> None:
    """The device comes before packages: there is nothing to install for a GPU that is not there."""
    framework, chosen = found(name, backend)

    assert framework.missing(chosen).startswith(expected)


def test_a_backend_needs_packages_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a GPU's backend lacks is named with what installs it, and CPU's backend does not lack it."""
    monkeypatch.setattr(devices, "absent", lambda _: "")
    framework, cuda = found("jax", "cuda")

    assert "jax-cuda13-plugin not installed: inferena setup jax --backend cuda" == framework.missing(cuda)
    assert "" == framework.missing(framework.backends[0])


def test_packages_that_exclude_each_other_are_both_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that is installed would be broken by the other, so the remedy is an environment of its own."""
    monkeypatch.setattr(devices, "absent", lambda _: "")
    framework, cuda = found("onnxruntime", "cuda")
    expected = (
        "onnxruntime-gpu not installed, which cannot be beside onnxruntime: "
        "inferena setup onnxruntime --isolated --backend cuda"
    )

    assert expected == framework.missing(cuda)
    assert "onnxruntime" not in framework.needs(cuda)


@LINUX
def test_the_worker_says_what_torch_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the machine seems to have a device, and torch finds none, its words are the reason: nothing is broken."""
    monkeypatch.undo()
    monkeypatch.setattr(devices, "absent", lambda _: "")
    framework, xpu = found("pytorch", "xpu")
    reason = state(framework, xpu)["missing"]

    assert reason.startswith("torch ")
    assert ("XPU" in reason, "broken" in reason) == (True, False)


def found(name: str, backend: str) -> tuple[Framework, Backend]:
    """An engine of this repository, and a backend."""
    framework = Framework.read(ROOT / "adapters" / name)
    return framework, next(one for one in framework.backends if one.name == backend)


@pytest.mark.parametrize(
    ("device", "ran", "expected"),
    [
        ("cuda", "XLA on cpu: cpu", True),
        ("vulkan", "ncnn 1.0, CPU, float32, 2 threads", True),
        ("cuda", "XLA on gpu: NVIDIA L4", False),
        ("webgpu", "ONNX Runtime, WebGpuExecutionProvider, CPUExecutionProvider, a software device", False),
        ("opencl", "pocl, cpu-haswell-AMD EPYC", False),
        ("cpu", "XLA on cpu: cpu", False),
    ],
)
def test_a_silent_fallback_is_told_by_what_ran(device: str, ran: str, expected: bool) -> None:
    """An engine that was asked for a device and names the CPU has run there; a software device has a flag instead."""
    assert expected == figures.on_cpu(device, ran)


def test_flags_of_a_device() -> None:
    """A cell that the CPU ran in a GPU's place says so, and how much of it; one for the CPU does not."""
    ran = "ONNX Runtime, WebGpuExecutionProvider, a software device"
    cell = Cell(model="m", framework="f", backend="webgpu", device="webgpu", metric="inference", threads=1)
    flags = figures.device_flags(cell, {"ran": ran, "fallback": 3})
    record = Record.of(cell, Outcome.PASS, flags=tuple(flags), ran=ran, extra={"fallback": 3})
    on_cpu = replace(cell, device="cpu")

    assert (["software", "fallback"], []) == (flags, figures.device_flags(on_cpu, {"ran": "llvmpipe"}))
    assert f"software: {ran} is no GPU; fallback: the CPU ran 3 of its operators" == note_text(record)


@LINUX
def test_software_devices_are_asked_for() -> None:
    """Their cells have a marker that is deselected unless it is named, as `tuned` is; other backends have not."""
    framework, webgpu = found("onnxruntime", "webgpu")
    [model] = [one for one in registry().models.values() if one.name == "resnet50"]

    assert "software" in Target(model, framework, webgpu).marks()
    assert "software" in ASKED_FOR
    assert "software" not in Target(model, framework, framework.backends[0]).marks()
