"""PyTorch's adapter on other devices than the CPU: where tensors lie, when it waits, and what it says if none is there.

No such device is needed: torch's own device `meta` stands in, whose tensors have shapes and no values.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.conformance import ROOT

from pytest_inferena.worker import Entry, Program, Setup, Unsupported
from pytest_inferena.worker.format import Node, Ref, TensorSpec
from pytest_inferena.worker.loading import load_adapter

if TYPE_CHECKING:
    from pathlib import Path

torch = pytest.importorskip("torch")
FILE = ROOT / "adapters" / "pytorch" / "adapter.py"


@pytest.fixture
def made() -> Any:
    """The adapter's module."""
    return load_adapter("pytorch", FILE)


def entry(name: str) -> Entry:
    """One linear layer, whose sum is a loss in training."""
    x, w = TensorSpec("x", (2, 3), "float32"), TensorSpec("y", (2, 4), "float32")
    nodes = [Node("linear", {"input": Ref("x"), "weight": Ref("w"), "bias": None}, (w,))]
    outputs = {"output": "y"}
    if name == "training":
        total = TensorSpec("total", (), "float32")
        nodes.append(Node("sum", {"self": Ref("y"), "dim": [0, 1], "keepdim": False}, (total,)))
        outputs = {"loss": "total"}
    found = Entry(name, (x,), ("w",), (), tuple(nodes), outputs)
    found._arrays.update(inputs={"x": np.ones((2, 3), np.float32)}, constants={})
    return found


@pytest.mark.parametrize(("name", "results"), [("inference", [(2, 4)]), ("training", [(), (4, 3)])])
def test_a_step_lies_on_the_device_and_waits_for_it(
    name: str, results: list[tuple[int, ...]], made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parameters, inputs, results and gradients are there; waiting is the device's own `synchronize`."""
    waits: list[str] = []
    module = SimpleNamespace(synchronize=lambda: waits.append("waited"))
    monkeypatch.setattr(torch, "get_device_module", lambda device: module if device.type == "meta" else None)
    program = Program(tmp_path, "small", {"w": TensorSpec("w", (4, 3), "float32")}, frozenset({"w"}))
    adapter = made.Adapter(Setup("meta_eager", "meta", 1, tmp_path))
    adapter.load(program, {"w": np.ones((4, 3), np.float32)})
    loaded = len(waits)
    step = adapter.compile(entry(name))
    step()
    before = len(waits)
    step.synchronize()

    assert (1, 1, 2) == (loaded, before, len(waits))
    assert {"meta"} == {one.device.type for one in (*step.inputs, *adapter.parameters.values(), *step.results)}
    assert results == [tuple(one.shape) for one in step.results]


@pytest.mark.parametrize(
    ("kind", "cuda", "hip", "expected"),
    [
        ("cuda", None, None, "is built without CUDA: install a torch with CUDA"),
        ("cuda", None, "7.1", "is built for ROCm 7.1: install a torch with CUDA"),
        ("cuda", "13.2", None, "is built for CUDA 13.2: the driver is too old"),
        ("rocm", "13.2", None, "is built without ROCm: install a torch with ROCm"),
        ("rocm", None, "7.1", "is built for ROCm 7.1: the driver is too old"),
    ],
)
def test_what_is_missing_is_named(  # noqa: PLR0917 - what torch says of itself
    kind: str, cuda: str | None, hip: str | None, expected: str, made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The build, or the driver in its own words; one for AMD is none for NVIDIA, though torch calls both cuda."""
    _cuda(monkeypatch, cuda, hip, there=False)
    with pytest.raises(Unsupported) as caught:
        made.devices.device_of(kind)

    assert f"torch {torch.__version__} {expected}" in str(caught.value)


def test_rocm_is_called_cuda_by_torch_alone(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The backend's device is rocm, torch's is cuda, and what ran names ROCm."""
    _cuda(monkeypatch, None, "7.1", there=True)
    module = SimpleNamespace(get_device_name=lambda _: "AMD Instinct MI300X")
    monkeypatch.setattr(torch, "get_device_module", lambda _: module)
    device = made.devices.device_of("rocm")

    assert "cuda" == device.type
    assert "AMD Instinct MI300X, ROCm 7.1" == made.devices.name_of(device)


def test_float32_is_no_tf32(made: Any) -> None:
    """CuDNN's convolutions would use TF32 unless they are told, by the older switch too."""
    places = torch.backends.cudnn.conv, torch.backends.cudnn.rnn, torch.backends.cuda.matmul
    for place in places:
        place.fp32_precision = "tf32"
    made.devices.device_of("cpu")

    assert ["ieee"] * 3 == [place.fp32_precision for place in places]
    assert not torch.backends.cudnn.allow_tf32


def _cuda(monkeypatch: pytest.MonkeyPatch, cuda: str | None, hip: str | None, *, there: bool) -> None:
    """Let torch say that it was built so, and whether there is a device."""

    def init() -> None:
        raise RuntimeError("the driver is too old\nand more")

    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.version, "hip", hip)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    monkeypatch.setattr(torch.cuda, "init", init)
