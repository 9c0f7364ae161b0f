"""The adapter of IREE: its operators, where it puts parameters, and what becomes of operators that it lacks."""

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

pytest.importorskip("iree.compiler", reason="the extra 'iree' is not installed")
pytest.importorskip("iree.runtime", reason="the extra 'iree' is not installed")
onnx = pytest.importorskip("onnx", reason="the extra 'iree' is not installed")
CONVOLUTION = {
    "stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "transposed": False, "output_padding": [0, 0], "groups": 1,
}  # fmt: skip
FILE = ROOT / "adapters" / "iree" / "adapter.py"


def _adapter(entry: Entry, parameters: dict[str, Tensor], folder: Path) -> Any:
    """The adapter with a Program of one entry prepared and loaded."""
    exchange, arrays = folder / "exchange", {name: value.detach().numpy() for name, value in parameters.items()}
    (folder / f"{entry.name}.json").write_text(json.dumps(entry.to_json()))
    save_file(dict(entry.arrays("constants")), folder / f"{entry.name}.constants.safetensors")
    save_file(arrays, folder / "weights.safetensors")
    specs = {name: spec(name, value) for name, value in parameters.items()}
    program = Program(folder, "small", specs, frozenset(specs))
    program.write()
    exchange.mkdir()
    made = load_adapter("iree", FILE).Adapter
    made.prepare(program, exchange)
    adapter = made(Setup("llvm_cpu", "cpu", 1, folder, exchange))
    adapter.load(program, load_file(folder / "weights.safetensors"))
    return adapter


def _run(adapter: Any, entry: Entry) -> dict[str, Any]:
    """The results of a second step."""
    step = adapter.compile(entry)
    for _ in range(2):
        step()
        step.synchronize()
    return dict(step.outputs())


def _sum(name: str, width: int) -> tuple[Entry, dict[str, Tensor]]:
    """relu(x) + bias."""
    small = Small(name, {"x": torch.arange(width) - 1.0}, {"bias": torch.full((width,), 10.0)})
    (result,) = small.add("relu", {"self": Ref("x")})
    (total,) = small.add("add", {"self": Ref(result), "other": Ref("bias")})
    return small.entry({"output": total}), small.parameters


@pytest.mark.parametrize("width", [2, 200])
@pytest.mark.parametrize("name", ["inference", "joint"])
def test_parameters(name: str, width: int, tmp_path: Path) -> None:
    """They are part of the module if small, read by it if large, inputs of a training step; the result is the same."""
    entry, parameters = _sum(name, width)
    expected = [max(index - 1.0, 0.0) + 10 for index in range(width)]

    assert expected == _run(_adapter(entry, parameters, tmp_path), entry)["output"].tolist()


def test_a_bias_is_not_summed_into(tmp_path: Path) -> None:
    """A convolution that gives one number a channel leaves its bias, an input of a training step, as it was."""
    small = Small("joint", {"x": torch.ones(1, 2, 1, 1)}, {"weight": torch.ones(3, 2, 1, 1), "bias": torch.ones(3)})
    arguments = {"input": Ref("x"), "weight": Ref("weight"), "bias": Ref("bias"), **CONVOLUTION}
    entry = small.entry({"output": small.add("convolution", arguments)[0]})

    assert [3.0] * 3 == _run(_adapter(entry, small.parameters, tmp_path), entry)["output"].ravel().tolist()


def test_an_operator_that_the_table_lacks(tmp_path: Path) -> None:
    """Its entry says so when it is compiled."""
    small = Small()
    entry = small.entry({"output": small.add("cosh", {"self": torch.ones(2)})[0]})

    with pytest.raises(Unsupported, match=r"unsupported operator aten.cosh, node out_0 of small.inference"):
        _adapter(entry, {}, tmp_path).compile(entry)


@pytest.mark.filterwarnings("ignore:Found a node without a valid type proto")
def test_an_operator_that_the_compiler_lacks(tmp_path: Path) -> None:
    """What it cannot lower is `unsupported`, with its own words: of an operator nobody knows, the next one's input."""
    entry, parameters = _sum("inference", 2)
    adapter = _adapter(entry, parameters, tmp_path)
    file = adapter.exchange / "inference.onnx"
    model = onnx.load(file, load_external_data=False)
    next(node for node in model.graph.node if node.op_type == "Relu").op_type = "Nonsense"
    file.write_bytes(model.SerializeToString())

    with pytest.raises(Unsupported, match=r"unsupported operator Add: failed to legalize operation"):
        adapter.compile(entry)


def test_without_exchange_files(tmp_path: Path) -> None:
    """The adapter says what is missing."""
    entry, _ = _sum("inference", 2)
    adapter = load_adapter("iree", FILE).Adapter(Setup("llvm_cpu", "cpu", 1, tmp_path))

    with pytest.raises(ValueError, match="none were prepared"):
        adapter.load(Program(tmp_path, "small", {}, frozenset()), {entry.name: np.zeros(1)})


@pytest.mark.parametrize("name", ["index_put", "scatter_add"])
def test_what_it_gets_wrong(name: str, tmp_path: Path) -> None:
    """IREE still adds up wrongly what goes to one place twice; ONNX Runtime and OpenVINO read the same file right."""
    small, entry, expected = forward({name: CASES[name]})
    found = _run(_adapter(entry, small.parameters, tmp_path), entry)

    assert not np.allclose(expected[name].numpy(), found[name], 1e-2)
