"""Several devices of a kind: how one is named, how a worker gets to see it alone, and what may run at once."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from tests.test_bad_input import said
from tests.test_devices import LINUX, bare, card, program

from pytest_inferena import files
from pytest_inferena.collect.placing import Placing
from pytest_inferena.engines.description import Backend
from pytest_inferena.machine import devices, several
from pytest_inferena.machine.devices import Device
from pytest_inferena.machine.several import DeviceError, Unit
from pytest_inferena.store import turns

if TYPE_CHECKING:
    from pathlib import Path

    from tests.projects import Project

__all__ = ["bare"]

PATH = os.environ["PATH"]
TWO = "NVIDIA L4, 23034, 570.1, 8.9\nNVIDIA L4, 23034, 570.1, 8.9"
ON_GPU = """
[[backends]]
name = "cuda"
device = "cuda"

[[backends]]
name = "second"
device = "cuda"

"""
SAYS = """

Adapter.describe = lambda self: f"NumPy on GPU {os.environ.get('CUDA_VISIBLE_DEVICES')}"
"""
LOSES = """

def lose(self, entry):
    Path(os.environ["PATH"].split(os.pathsep)[0], "nvidia-smi").unlink()
    raise RuntimeError("CUDA error: device lost")


Adapter.compile = lose
"""


@pytest.fixture(autouse=True)
def unmasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable hides a device, and ROCm's files would lie in this test's folder."""
    for mask in (name for masks in several._MASKS.values() for names in masks for name in names):
        monkeypatch.delenv(mask, raising=False)
    monkeypatch.setattr(several, "_TOPOLOGY", tmp_path / "topology")


@pytest.fixture
def two(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project on a machine with two NVIDIA GPUs, as its driver's program tells; the fake engine runs on them too."""
    folder = project.path / "bin"
    folder.mkdir()
    program(folder, "nvidia-smi", TWO)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{PATH}")
    head, table, own = (project.folder / "adapter.toml").read_text().partition("[[backends]]")
    project.write("fake/adapter.toml", f"{head}{ON_GPU}{table}{own}")  # in this order xdist deals them out
    project.append("fake/adapter.py", SAYS)
    return project


@LINUX
@pytest.mark.parametrize(
    ("kind", "masks", "expected"),
    [
        ("cuda", {}, [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}]),
        ("tensorrt", {"CUDA_VISIBLE_DEVICES": "1"}, [{"CUDA_VISIBLE_DEVICES": "1"}]),
        ("cuda", {"CUDA_VISIBLE_DEVICES": "1,MIG-c"}, [{"CUDA_VISIBLE_DEVICES": one} for one in ("1", "MIG-c")]),
        ("cuda", {"CUDA_VISIBLE_DEVICES": "1,7,0"}, [{"CUDA_VISIBLE_DEVICES": "1"}]),
        ("cuda", {"CUDA_VISIBLE_DEVICES": "-1"}, []),
        ("cuda", {"CUDA_VISIBLE_DEVICES": ""}, []),
        ("rocm", {}, [{"HIP_VISIBLE_DEVICES": "0"}, {"HIP_VISIBLE_DEVICES": "1"}]),
        ("rocm", {"ROCR_VISIBLE_DEVICES": "1"}, [{"HIP_VISIBLE_DEVICES": "0"}]),
        ("migraphx", {"CUDA_VISIBLE_DEVICES": "1"}, [{"HIP_VISIBLE_DEVICES": "1"}]),
        ("xpu", {}, [{"ONEAPI_DEVICE_SELECTOR": "level_zero:0"}]),
        ("xpu", {"ONEAPI_DEVICE_SELECTOR": "opencl:gpu"}, [{"ONEAPI_DEVICE_SELECTOR": "opencl:gpu"}]),
        ("mps", {}, []),
    ],
)  # fmt: skip
def test_a_worker_sees_one_device(
    bare: Path, monkeypatch: pytest.MonkeyPatch, kind: str, masks: dict[str, str], expected: list[dict[str, str]]
) -> None:
    """Each device of a kind has a number among those that the user's variables leave, and what says so to a worker."""
    program(bare, "nvidia-smi", TWO)
    card(bare, "0x8086")
    for node, gpu in enumerate(("0", "4001", "4002")):  # the first is the CPU
        (bare / "topology" / str(node)).mkdir(parents=True)
        (bare / "topology" / str(node) / "gpu_id").write_text(f"{gpu}\n")
    for name, value in masks.items():
        monkeypatch.setenv(name, value)
    found = [unit.environment() for unit in several.units(kind)]
    ordered = [one.pop("CUDA_DEVICE_ORDER", None) for one in found]

    assert expected == found
    assert [*range(len(found))] == [unit.number for unit in several.units(kind)]
    assert {"PCI_BUS_ID" if kind in {"cuda", "tensorrt"} else None} >= {*ordered}


@LINUX
def test_a_device_is_known_by_more_than_its_number(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a user's variable calls a card, by number or by UUID, sessions lock the same card."""
    for number in (1, 2):
        (bare / "_NVIDIA" / "gpus" / str(number)).mkdir(parents=True)
        (bare / "_NVIDIA" / "gpus" / str(number) / "information").write_text(f"Model: L4\nGPU UUID: GPU-{number}\n")
    (bare / "_NVIDIA" / "version").write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.1  Release\n")
    plain = several.units("cuda")[1]
    found = []
    for mask in ("1", "GPU-2"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", mask)
        found += several.units("cuda")

    assert [(plain.identity, "L4", 0)] * 2 == [(one.identity, one.name, one.number) for one in found]


@LINUX
def test_hidden_devices_are_the_reason(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose GPUs a variable hides lacks no GPU: the variable is named."""
    program(bare, "nvidia-smi", TWO)
    there = several.hidden("cuda")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")

    assert ("", "every cuda device is hidden by CUDA_VISIBLE_DEVICES=''") == (there, several.hidden("cuda"))
    assert "" == several.hidden("cpu")


@LINUX
def test_a_device_is_named(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its kind and its number; any other word is told which there are."""
    program(bare, "nvidia-smi", TWO)
    monkeypatch.setattr(devices, "listed", lambda: [Device("vulkan", "llvmpipe")])
    expected = "no device has this name; there are cuda:0 (NVIDIA L4), cuda:1 (NVIDIA L4), vulkan:0 (llvmpipe)"

    assert ("cuda:1", "vulkan:0") == (str(several.named("cuda:1")), str(several.named("vulkan:0")))
    for word in ("cuda:2", "cuda", "cuda:", "cuda:-1", "cuda:one", "cpu:0", "vulkan:1", "metal:0", ":0", ""):
        with pytest.raises(DeviceError) as caught:
            several.named(word)
        assert expected in str(caught.value)


VULKAN = Backend("vulkan", "vulkan", device_variable="GGML_VK_VISIBLE_DEVICES", env={"GGML_VK_VISIBLE_DEVICES": "0"})
ONE_OF_MANY = Placing({"vulkan": Unit("vulkan", 1, "Mali")})


def test_a_backend_has_a_variable_of_its_own() -> None:
    """Vulkan has none for all programs: a backend names the one that its engine reads, or uses the first device."""
    plain = Backend("wgpu", "vulkan")
    told = ONE_OF_MANY.placed(VULKAN, ONE_OF_MANY.unit(VULKAN))

    assert ({"GGML_VK_VISIBLE_DEVICES": "1"}, "vulkan:1", "") == (
        told.env, ONE_OF_MANY.device(VULKAN), ONE_OF_MANY.refusal(VULKAN),
    )  # fmt: skip
    assert "wgpu uses the first device: nothing tells it to use vulkan:1" == ONE_OF_MANY.refusal(plain)
    assert ("", "") == (Placing({"vulkan": Unit("vulkan", 0)}).refusal(plain), Placing().refusal(plain))
    assert {"GGML_VK_VISIBLE_DEVICES": "0"} == Placing().placed(VULKAN, Placing().unit(VULKAN)).env


@LINUX
def test_processes_share_devices_of_one_name(bare: Path) -> None:
    """Each of xdist's workers has its own as long as there are some; a slower card is left to those that name it."""
    program(bare, "nvidia-smi", f"{TWO}\nNVIDIA T4, 15360, 570.1, 7.5")
    found = [Placing(rank=rank).unit(Backend("cuda", "cuda")) for rank in range(3)]

    assert ["cuda:0", "cuda:1", "cuda:0"] == [str(unit) for unit in found]
    assert Placing().unit(Backend("cpu", "cpu")) is None


@LINUX
def test_gpus_share_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two GPUs are measured at once, one GPU once, and the CPU, or what may be any device, when nothing else is."""
    monkeypatch.setenv("INFERENA_LOCKS", str(tmp_path))

    def at_once(path: int, *, wait: bool, shared: bool) -> bool:
        assert wait
        if not files.hold(path, shared=shared):
            raise RuntimeError("somebody else measures")
        return True

    monkeypatch.setattr(turns, "hold", at_once)

    def busy(device: str) -> bool:
        try:
            with turns.turn(device):
                return False
        except RuntimeError:
            return True

    with turns.turn("cuda-GPU-1"):
        on_gpu = [busy(device) for device in ("cuda-GPU-1", "cuda-GPU-2", "")]
    with turns.turn():
        on_cpu = [busy(device) for device in ("cuda-GPU-1", "")]

    assert ([True, False, True], [True, True]) == (on_gpu, on_cpu)
    assert not busy("")


@LINUX
def test_a_run_on_the_second_device(two: Project) -> None:
    """The worker sees it alone, the record says so, and cells of the CPU are as they were."""
    two.run("-m", "latency", "--inferena-device=cuda:1", "--benchmark-disable")
    found = {record.backend: record for record in two.journal()}

    assert {"numeric": "cpu", "cuda": "cuda:1", "second": "cuda:1"} == {name: one.device for name, one in found.items()}
    assert ("NumPy on GPU 1", "cuda:1") == (found["cuda"].ran, found["cuda"].extra["device"])
    assert "NumPy on GPU None" == found["numeric"].ran


@LINUX
@pytest.mark.parametrize(
    ("devices", "message"),
    [
        (["cuda:7"], "--inferena-device=cuda:7: no device has this name; there are cuda:0 (NVIDIA L4), cuda:1 "),
        (["cuda:0", "cuda:1"], "--inferena-device=cuda:1: cuda:0 is named too; a run uses one device of a kind, and"),
    ],
)  # fmt: skip
def test_a_device_that_cannot_be_chosen(two: Project, devices: list[str], message: str) -> None:
    """One error before anything runs, which names the devices there are."""
    assert said(two.run(*(f"--inferena-device={one}" for one in devices))).startswith(message)


@LINUX
def test_two_devices_at_once(two: Project) -> None:
    """Each process of xdist's has its GPU; both are measured at once, and the CPU while nothing else is."""
    two.run("-n", "2", "--inferena-results=journal.jsonl")
    lines = (two.path / "journal.jsonl").read_text().splitlines()[1:]
    spans: dict[str, list[tuple[dt.datetime, dt.datetime]]] = {}
    for record in map(json.loads, lines):
        start = dt.datetime.fromisoformat(record["started"])
        place = record["extra"].get("device", "cpu")
        spans.setdefault(place, []).append((start, start + dt.timedelta(seconds=record["wall"])))
        assert (record["device"], record["outcome"]) == (place.partition(":")[0], "pass")
    slack = dt.timedelta(milliseconds=5)  # `started` is rounded to 1 ms

    def together(one: str, other: str) -> int:
        pairs = itertools.product(spans[one], spans[other])
        return sum(a != b and max(a[0], b[0]) + slack < min(a[1], b[1]) for a, b in pairs)

    assert {"cuda:0": 4, "cuda:1": 4, "cpu": 4} == {place: len(found) for place, found in spans.items()}
    assert together("cuda:0", "cuda:1") > 0
    assert [0] * 5 == [together(*pair) for pair in itertools.combinations_with_replacement(sorted(spans), 2)
                       if pair != ("cuda:0", "cuda:1")]  # fmt: skip


@LINUX
def test_a_device_that_disappears(two: Project) -> None:
    """The cell's reason says that the device is gone, and later cells are skipped for want of one."""
    two.append("fake/adapter.py", LOSES)
    result = two.run("-m", "cuda and (inference or latency)", "-k", "fake-cuda", "--benchmark-disable")
    found: dict[str, Any] = {record.metric: record for record in two.journal()}

    expected = "RuntimeError: CUDA error: device lost; cuda:0 (NVIDIA L4) is gone: "

    assert found["inference"].reason.startswith(expected)
    assert "not_installed" == found["latency"].outcome
    result.assert_outcomes(failed=1, skipped=1)


@LINUX
def test_an_engine_that_falls_back(two: Project) -> None:
    """An engine that runs on the CPU where a GPU was asked for is an error with its own words, not a figure."""
    two.append("fake/adapter.py", '\nAdapter.describe = lambda self: "NumPy on CPU"\n')
    two.run("-m", "latency", "--benchmark-disable")
    found = {record.backend: (record.outcome, record.reason) for record in two.journal()}

    assert ("error", "it was to run on cuda, and says: NumPy on CPU") == found["cuda"]
    assert "pass" == found["numeric"][0]
