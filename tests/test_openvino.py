"""The adapter of OpenVINO: its operators, the precision it asks for, and what becomes of operators that it lacks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from tests.conformance import ROOT
from tests.operator_cases import CASES
from tests.small_entries import Small, forward, spec

from pytest_inferena.worker import Entry, Program, Setup, Unsupported
from pytest_inferena.worker.format import Ref
from pytest_inferena.worker.loading import load_adapter

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

ov = pytest.importorskip("openvino", reason="the extra 'openvino' is not installed")
onnx = pytest.importorskip("onnx", reason="the extra 'openvino' is not installed")
FILE = ROOT / "adapters" / "openvino" / "adapter.py"


def _adapter(entry: Entry, parameters: dict[str, Tensor], folder: Path, *, prepare: bool = True) -> Any:
    """The adapter with a Program of one entry prepared and loaded."""
    exchange, arrays = folder / "exchange", {name: value.detach().numpy() for name, value in parameters.items()}
    (folder / f"{entry.name}.json").write_text(json.dumps(entry.to_json()))
    save_file(dict(entry.arrays("constants")), folder / f"{entry.name}.constants.safetensors")
    save_file(arrays, folder / "weights.safetensors")
    specs = {name: spec(name, value) for name, value in parameters.items()}
    program = Program(folder, "small", specs, frozenset(specs))
    program.write()
    exchange.mkdir(exist_ok=True)
    made = load_adapter("openvino", FILE).Adapter
    if prepare:
        made.prepare(program, exchange)
    adapter = made(Setup("cpu", "cpu", 1, folder, exchange))
    adapter.load(program, load_file(folder / "weights.safetensors"))
    return adapter


def _run(adapter: Any, entry: Entry) -> dict[str, Any]:
    """The results of a second step."""
    step = adapter.compile(entry)
    for _ in range(2):
        step()
        step.synchronize()
    return dict(step.outputs())


def _relu(name: str = "inference") -> tuple[Entry, dict[str, Tensor]]:
    """relu(x) + bias."""
    small = Small(name, {"x": torch.tensor([-1.0, 2.0])}, {"bias": torch.tensor([10.0, 20.0])})
    (result,) = small.add("relu", {"self": Ref("x")})
    (total,) = small.add("add", {"self": Ref(result), "other": Ref("bias")})
    return small.entry({"output": total}), small.parameters


def test_a_way_of_using_an_operator_that_openvino_lacks(tmp_path: Path) -> None:
    """It is `unsupported`, with operator and node, where the frontend says so of a file that was not made for it."""
    made, entry, _ = forward({"pad": CASES["pad-circular"]})
    adapter = _adapter(entry, made.parameters, tmp_path)

    with pytest.raises(
        Unsupported, match=r"ONNX Pad, node .*: OpenVINO's ONNX frontend says: Unsupported padding mode"
    ):
        adapter.compile(entry)


@pytest.mark.parametrize("name", ["inference", "joint"])
def test_parameters(name: str, tmp_path: Path) -> None:
    """Parameters are constants of an inference entry, inputs of a joint one, and the model computes with them."""
    entry, parameters = _relu(name)
    adapter = _adapter(entry, parameters, tmp_path)
    results = _run(adapter, entry)

    assert [10.0, 22.0] == results["output"].tolist()
    assert (["x"] if name == "inference" else ["x", "bias"]) == [port.any_name for port in adapter.compiled.inputs]


def test_nothing_is_calculated_in_lower_precision(tmp_path: Path) -> None:
    """The compiled model itself says so, whatever its processor would rather do, and what it says is shown."""
    entry, parameters = _relu()
    adapter = _adapter(entry, parameters, tmp_path)
    before = adapter.describe()
    adapter.compile(entry)
    asked = ("INFERENCE_PRECISION_HINT", "KV_CACHE_PRECISION", "DYNAMIC_QUANTIZATION_GROUP_SIZE", "NUM_STREAMS")

    assert [ov.Type.f32, ov.Type.f32, 0, 1] == [adapter.compiled.get_property(name) for name in asked]
    assert f"OpenVINO {ov.get_version()}, nothing compiled yet" == before
    assert f"OpenVINO {ov.get_version()}, CPU, f32, 1 threads" == adapter.describe()


def test_sums_of_reshaped_products(tmp_path: Path) -> None:
    """Gradients that meet, (x + y + z) reshaped with y and z reshaped products, compile and are right."""
    small = Small()
    x, y, z = (torch.randn(6, 48), torch.randn(8, 48), torch.randn(8, 48))
    rows = torch.randn(6, 8)
    total = small.add("add", {"self": x.reshape(1, 6, 48), "other": x.reshape(1, 6, 48)})[0]
    for factor in (y, z):
        product = small.add("matmul", {"self": rows, "other": factor})[0]
        reshaped = small.add("reshape", {"self": Ref(product), "shape": [1, 6, 48]})[0]
        total = small.add("add", {"self": Ref(total), "other": Ref(reshaped)})[0]
    result = small.add("reshape", {"self": Ref(total), "shape": [6, 48]})[0]
    entry = small.entry({"output": result})

    np.testing.assert_allclose(
        (x + x + rows @ y + rows @ z).numpy(),
        _run(_adapter(entry, {}, tmp_path), entry)["output"],
        rtol=0,
        atol=1e-5,
    )


@pytest.mark.parametrize(
    ("kind", "domain", "message"),
    [
        ("Nonsense", "", "ONNX Nonsense, node relu: OpenVINO's ONNX frontend has no rule for it"),
        ("Nonsense", "my.domain", "ONNX my.domain.Nonsense, node relu: OpenVINO's ONNX frontend has no rule for it"),
    ],
)
def test_an_operator_that_openvino_lacks(kind: str, domain: str, message: str, tmp_path: Path) -> None:
    """What the frontend cannot convert is `unsupported`, and named."""
    entry, parameters = _relu()
    adapter = _adapter(entry, parameters, tmp_path, prepare=False)
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2]) for name in ("x", "y"))
    node = onnx.helper.make_node(kind, ["x"], ["y"], f"relu/{kind}_0", domain=domain)
    opsets = [onnx.helper.make_opsetid("", 23), *([onnx.helper.make_opsetid(domain, 1)] if domain else [])]
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "graph", [x], [y]), opset_imports=opsets)
    (tmp_path / "exchange" / "inference.onnx").write_bytes(model.SerializeToString())

    with pytest.raises(Unsupported, match=f"^unsupported operator {message}"):
        adapter.compile(entry)


def test_what_the_table_lacks(tmp_path: Path) -> None:
    """An operator without ONNX is refused when its entry is compiled, for the reason the preparer found."""
    small = Small()
    entry = small.entry({"output": small.add("cosh", {"self": torch.ones(2)})[0]})
    adapter = _adapter(entry, {}, tmp_path)

    with pytest.raises(Unsupported, match=r"unsupported operator aten.cosh, node out_0 of small.inference"):
        adapter.compile(entry)


def test_float64(tmp_path: Path) -> None:
    """It would be calculated in float32, so it is refused."""
    small = Small()
    entry = small.entry({"output": small.add("cos", {"self": torch.ones(2, dtype=torch.float64)})[0]})

    with pytest.raises(Unsupported, match="float64, tensor input_0"):
        _adapter(entry, {}, tmp_path).compile(entry)


def test_what_is_no_model_is_an_error(tmp_path: Path) -> None:
    """What is not an operator's lack stays OpenVINO's own error; missing exchange files are named."""
    entry, parameters = _relu()
    adapter = _adapter(entry, parameters, tmp_path, prepare=False)
    (tmp_path / "exchange" / "inference.onnx").write_bytes(b"no model")

    with pytest.raises(RuntimeError, match="Unable to read the model"):
        adapter.compile(entry)
    adapter.setup = Setup("cpu", "cpu", 1, tmp_path)
    with pytest.raises(ValueError, match="none were prepared"):
        adapter.load(None, {})
