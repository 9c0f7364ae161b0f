"""The adapter of ONNX Runtime: its exchange files, and what becomes of operators that the runtime lacks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from tests.conformance import ROOT

from pytest_inferena.machine.devices import has_gpu, software
from pytest_inferena.worker import Entry, Program, Setup, Unsupported
from pytest_inferena.worker.format import Node, Ref, TensorSpec
from pytest_inferena.worker.loading import load_adapter
from pytest_inferena.worker.server import Server

ort = pytest.importorskip("onnxruntime", reason="the extra 'onnxruntime' is not installed")
onnx = pytest.importorskip("onnx", reason="the extra 'onnxruntime' is not installed")
FILE = ROOT / "adapters" / "onnxruntime" / "adapter.py"
SWIFTSHADER = Path("/usr/lib/chromium/vk_swiftshader_icd.json")


def _program(folder: Path, *operators: str, entries: tuple[str, ...] = ("inference",)) -> Program:
    """A Program whose entries apply operators of one operand to `x`, then add the parameter `w`."""
    x, w = TensorSpec("x", (2,), "float32"), TensorSpec("w", (2,), "float32")
    names = ["x", *(f"node_{index}" for index, _ in enumerate(operators))]
    nodes = [
        Node(operator, {"self": Ref(before)}, (TensorSpec(name, (2,), "float32"),))
        for operator, before, name in zip(operators, names, names[1:], strict=False)
    ]
    nodes.append(Node("add", {"self": Ref(names[-1]), "other": Ref("w")}, (TensorSpec("sum", (2,), "float32"),)))
    for name in entries:
        document = Entry(name, (x,), ("w",), (), tuple(nodes), {"output": "sum"}).to_json()
        (folder / f"{name}.json").write_text(json.dumps(document))
        save_file({"x": np.array([-1, 2], np.float32)}, folder / f"{name}.inputs.safetensors")
        save_file({}, folder / f"{name}.constants.safetensors")
    save_file({"w": np.array([10, 20], np.float32)}, folder / "weights.safetensors")
    program = Program(folder, "small", {"w": w}, frozenset({"w"}))
    program.write()
    return program


def _model(kind: str, dtype: int, domain: str = "") -> bytes:
    """An ONNX model of one node, `node_1`."""
    x, y = (onnx.helper.make_tensor_value_info(name, dtype, [2]) for name in ("x", "y"))
    node = onnx.helper.make_node(kind, ["x"], ["y"], "node_1", domain=domain)
    opsets = [onnx.helper.make_opsetid("", 23), *([onnx.helper.make_opsetid(domain, 1)] if domain else [])]
    graph = onnx.helper.make_graph([node], "graph", [x], [y])
    return bytes(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=11).SerializeToString())


def _adapter(program: Program, exchange: Path | None) -> Any:
    adapter = load_adapter("onnxruntime", FILE).Adapter(Setup("cpu", "cpu", 1, program.folder, exchange))
    adapter.load(program, {"w": np.array([10, 20], np.float32)})
    return adapter


def _exchange(program: Program) -> Path:
    """What the adapter prepares of a Program."""
    folder = program.folder / "exchange"
    folder.mkdir()
    load_adapter("onnxruntime", FILE).Adapter.prepare(program, folder)
    return folder


@pytest.mark.parametrize("name", ["inference", "joint"])
def test_an_entry_runs(name: str, tmp_path: Path) -> None:
    """A session reads the parameters from the weights' file, or takes them as inputs, and its step is repeatable."""
    program = _program(tmp_path, "relu", entries=("inference", "joint"))
    step = _adapter(program, _exchange(program)).compile(program.entry(name))
    for _ in range(2):
        step()
        step.synchronize()

    assert [10.0, 22.0] == step.outputs()["output"].tolist()


def test_what_ran_is_read_from_the_runtime(tmp_path: Path) -> None:
    """The provider is the session's own answer."""
    program = _program(tmp_path, "relu")
    adapter = _adapter(program, _exchange(program))
    before = adapter.describe()
    adapter.compile(program.entry("inference"))

    assert before == "ONNX Runtime, no session yet, 1 threads"
    assert adapter.describe() == "ONNX Runtime, CPUExecutionProvider, 1 threads"


def test_an_operator_that_the_table_lacks(tmp_path: Path) -> None:
    """The other entries are prepared; the one that lacks it says so when it is compiled."""
    program = _program(tmp_path, "relu", entries=("latency",))
    _program(tmp_path, "cosh")
    exchange = _exchange(program)

    assert ["inference.unsupported", "joint.unsupported", "latency.onnx"] == sorted(f.name for f in exchange.iterdir())
    with pytest.raises(Unsupported, match=r"unsupported operator aten.cosh, node node_0 of small.inference"):
        _adapter(program, exchange).compile(program.entry("inference"))


@pytest.mark.parametrize(
    ("kind", "dtype", "domain", "message"),
    [
        ("Nonsense", "FLOAT", "", "unsupported operator ONNX Nonsense, node node_1: "),
        ("Nonsense", "FLOAT", "my.domain", "unsupported operator ONNX my.domain:Nonsense: "),
        ("Cos", "BFLOAT16", "", "unsupported operator ONNX Cos, node node_1: "),
    ],
)
def test_an_operator_that_the_runtime_lacks(kind: str, dtype: str, domain: str, message: str, tmp_path: Path) -> None:
    """An operator it does not know, or has no kernel of for the dtype, is `unsupported`, and named."""
    program = _program(tmp_path)
    (tmp_path / "inference.onnx").write_bytes(_model(kind, onnx.TensorProto.DataType.Value(dtype), domain))
    server = Server("onnxruntime", FILE, [])
    server.adapter, server.entries = _adapter(program, tmp_path), {"inference": program.entry("inference")}
    answer = server.answer(b'{"request": "compile", "entry": "inference"}\n')

    assert (answer["ok"], answer["kind"]) == (False, "unsupported")
    assert answer["message"].startswith(message)
    assert answer["message"].endswith(" (engine onnxruntime)")


def test_a_file_that_is_no_model_is_an_error(tmp_path: Path) -> None:
    """What is not an operator's lack stays the runtime's own error."""
    program = _program(tmp_path)
    (tmp_path / "inference.onnx").write_bytes(b"no model")

    with pytest.raises(Exception, match=r"INVALID_PROTOBUF|INVALID_ARGUMENT"):
        _adapter(program, tmp_path).compile(program.entry("inference"))


def test_without_exchange_files(tmp_path: Path) -> None:
    """The adapter says what is missing."""
    with pytest.raises(ValueError, match="none were prepared"):
        _adapter(_program(tmp_path), None)


def _providers() -> Any:
    return load_adapter("onnxruntime", FILE).providers


def test_nodes_on_the_cpu_are_counted() -> None:
    """The session itself says who runs a node."""
    providers = _providers()
    session = providers.session(
        _model("Relu", onnx.TensorProto.FLOAT), ort.SessionOptions(), providers.PROVIDERS["cpu"]
    )

    assert 1 == providers.on_cpu(session)


@pytest.mark.parametrize("backend", ["cuda", "tensorrt", "coreml", "directml"])
def test_a_provider_that_this_build_lacks(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named with what brings it, and nothing runs on the CPU in its place."""
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(Unsupported, match=rf"has no .*Provider: inferena setup onnxruntime --backend {backend}"):
        _providers().find(backend)


@pytest.mark.skipif(not SWIFTSHADER.exists(), reason="a driver of Vulkan for CPUs that WebGPU takes: install chromium")
@pytest.mark.parametrize("name", ["inference", "joint"])
def test_webgpu_runs_without_a_gpu(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs and results are bound on the device, all nodes run there, and it is called a software device."""
    pytest.importorskip("onnxruntime_ep_webgpu", reason="inferena setup onnxruntime --backend webgpu")
    monkeypatch.setenv("ORT_WEBGPU_EP_ALLOW_SOFTWARE_ADAPTER", "1")
    for variable in ("VK_DRIVER_FILES", "VK_ICD_FILENAMES"):
        monkeypatch.setenv(variable, str(SWIFTSHADER))
    program = _program(tmp_path, "relu", "erf", entries=("inference", "joint"))
    adapter = load_adapter("onnxruntime", FILE).Adapter(
        Setup("webgpu", "webgpu", 1, program.folder, _exchange(program))
    )
    adapter.load(program, {"w": np.array([10, 20], np.float32)})
    step = adapter.compile(program.entry(name))
    step()
    step.synchronize()

    np.testing.assert_allclose(step.outputs()["output"], [10, 20.995322], rtol=1e-6)
    assert 0 == step.fallback
    assert "WebGPU_Buf" in {one.name for one in step.session.get_input_memory_infos()}
    assert adapter.describe().startswith("ONNX Runtime, WebGpuExecutionProvider, ")
    assert software(adapter.describe()) == (not has_gpu())
