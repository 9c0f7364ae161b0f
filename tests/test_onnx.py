"""The ONNX operator table against PyTorch, run by ONNX Runtime."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import save_file
from tests.operator_cases import CASES
from tests.programs import entry_of, gradients, inference, run
from tests.zoo import MODELS, model
from torch import Tensor

from pytest_inferena.program.expand import expand
from pytest_inferena.program.onnx import to_onnx, written
from pytest_inferena.worker import Unsupported
from pytest_inferena.worker.aten import to_module
from pytest_inferena.worker.format import Entry, Node, Program, Ref, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ort = pytest.importorskip("onnxruntime", reason="the extra 'onnxruntime' is not installed")
LARGE = ("gelu", "layer_norm", "native_layer_norm", "rms_norm", "rotary_embedding", "scaled_dot_product_attention")
SPELLINGS = {"large": written(), "small": written(*LARGE)}
"""What engines read: all that the table writes, or small operators only."""


def _spec(name: str, tensor: Tensor) -> TensorSpec:
    return TensorSpec(name, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))


def _refer(value: Any, inputs: dict[str, Tensor]) -> Any:
    """An argument with its tensors made inputs."""
    if isinstance(value, list):
        return [_refer(item, inputs) for item in value]
    if not isinstance(value, Tensor):
        return value
    inputs[f"input_{len(inputs)}"] = value.contiguous()
    return Ref(f"input_{len(inputs) - 1}")


def _of_one(operator: str, arguments: Mapping[str, Any]) -> tuple[Entry, dict[str, Tensor], dict[str, Tensor]]:
    """An entry of one node, its inputs, and what PyTorch makes of them."""
    inputs: dict[str, Tensor] = {}
    referred = {name: _refer(value, inputs) for name, value in arguments.items()}
    count = {"fft": 2, "max_pool2d_with_indices": 2, "native_layer_norm": 3, "rfft": 2}.get(operator, 1)
    names = [f"out_{index}" for index in range(count)]
    outputs = tuple(TensorSpec(name, (), "float32") for name in names)
    specs = tuple(_spec(name, value) for name, value in inputs.items())
    result = {f"result_{name}": name for name in names}
    entry = Entry("inference", specs, (), (), (Node(operator, referred, outputs),), result)
    entry._arrays["constants"] = {}
    values = to_module(entry, {})(*inputs.values())
    outputs = tuple(_spec(name, value) for name, value in zip(names, values, strict=True))
    entry = dataclasses.replace(entry, nodes=(Node(operator, referred, outputs),))
    entry.specs = {spec.name: spec for spec in (*specs, *outputs)}
    return entry, inputs, dict(zip(result, values, strict=True))


def _program(entry: Entry, folder: Path, parameters: Mapping[str, Tensor]) -> Program:
    """A Program of one entry in a folder: its weights and constants."""
    save_file({name: value.detach().contiguous() for name, value in parameters.items()}, folder / "weights.safetensors")
    constants = {name: torch.tensor(value) for name, value in entry.arrays("constants").items()}
    save_file(constants, folder / f"{entry.name}.constants.safetensors")
    specs = {name: _spec(name, value) for name, value in parameters.items()}
    return Program(folder, "small", specs, frozenset(specs))


def _run(
    entry: Entry, folder: Path, inputs: Mapping[str, Tensor], parameters: Mapping[str, Tensor], spelling: str = "large"
) -> dict[str, Any]:
    """What ONNX Runtime makes of an entry, whose other operators are expanded; its ONNX file is checked."""
    entry = entry_of(expand(entry, SPELLINGS[spelling])[0], entry.name)
    path = to_onnx(entry, _program(entry, folder, parameters), folder)
    onnx.checker.check_model(path, full_check=True)
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    session = ort.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    given = {**parameters, **inputs}
    feed = {value.name: given[value.name].detach().numpy() for value in session.get_inputs()}
    return dict(zip((value.name for value in session.get_outputs()), session.run(None, feed), strict=True))


def _differences(expected: Mapping[str, Tensor], actual: Mapping[str, Any], share: float) -> dict[str, str]:
    """What is not as expected, to a share of each tensor's largest element."""
    found = {}
    for name in expected.keys() | actual.keys():
        if name not in expected or name not in actual:
            found[name] = "is on one side only"
            continue
        right, result = expected[name].detach().numpy(), np.asarray(actual[name])
        if (right.shape, right.dtype) != (result.shape, result.dtype):
            found[name] = f"{result.dtype}{result.shape} in place of {right.dtype}{right.shape}"
        elif not np.allclose(right.astype(float), result.astype(float), 0, share * np.abs(right).astype(float).max()):
            found[name] = f"{result.ravel()[:4]} in place of {right.ravel()[:4]}"
    return found


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("case", CASES)
def test_operator(case: str, spelling: str, tmp_path: Path) -> None:
    """Each operator alone computes what ATen computes, spelled by large ONNX operators or by small ones."""
    entry, inputs, expected = _of_one(*CASES[case])
    actual = _run(entry, tmp_path, inputs, {}, spelling)

    assert {} == _differences(expected, actual, 1e-6)


def test_no_operator_is_left_out() -> None:
    """An operator that the table has and no case exercises would be one that nobody checks."""
    assert set() == written().keys() - {operator for operator, _ in CASES.values()}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("name", MODELS)
def test_inference(name: str, spelling: str, tmp_path: Path) -> None:
    """A model's results are PyTorch's."""
    module, inputs = model(name)
    entry = inference(name)
    expected = run(entry, module, inputs)
    actual = _run(entry, tmp_path, inputs, dict(module.named_parameters()), spelling)

    assert {} == _differences(expected, actual, 1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_joint(name: str, tmp_path: Path) -> None:
    """A model's loss and gradients are PyTorch's, with its parameters as inputs."""
    module, inputs = model(name)
    entry = gradients(name)
    with torch.no_grad():
        expected = run(entry, module, inputs)
    actual = _run(entry, tmp_path, inputs, dict(module.named_parameters()))
    sizes = {key: float(value.abs().max()) for key, value in expected.items()}
    nothing = 1e-6 * max(sizes.values())  # a gradient that is mathematically zero is as large as rounding
    zero = {key: actual.pop(key) for key in list(actual) if sizes.get(key, nothing) < nothing}
    expected = {key: value for key, value in expected.items() if key not in zero}

    assert {} == _differences(expected, actual, 1e-4)
    assert all(np.abs(value).max() < nothing for value in zero.values())


@pytest.mark.parametrize(("as_inputs", "inputs"), [(False, ["x"]), (True, ["x", "first.bias", "first.weight"])])
def test_parameters_as_inputs(as_inputs: bool, inputs: list[str], tmp_path: Path) -> None:
    """Parameters are initializers or inputs of the graph, as asked for."""
    module, _ = model("mlp")
    entry = inference("mlp")
    program = _program(entry, tmp_path, dict(module.named_parameters()))
    graph = onnx.load(
        to_onnx(entry, program, tmp_path, parameters_are_inputs=as_inputs), load_external_data=False
    ).graph
    external = {value.name for value in graph.initializer if value.external_data}

    assert set(inputs) <= {value.name for value in graph.input}
    assert as_inputs is not ("first.weight" in external)


def test_an_operator_that_the_table_lacks(tmp_path: Path) -> None:
    """The message names operator, node, entry and model."""
    entry, _, _ = _of_one("cosh", {"self": torch.ones(2)})
    expected = "unsupported operator aten.cosh, node out_0 of small.inference: the ONNX table lacks it"

    with pytest.raises(Unsupported, match=expected):
        to_onnx(entry, _program(entry, tmp_path, {}), tmp_path)


@pytest.mark.parametrize(
    ("case", "changed"),
    [
        ("avg_pool2d", {"divisor_override": 3}),
        ("avg_pool2d", {"ceil_mode": True}),
        ("index_put", {"accumulate": False}),
    ],
)
def test_arguments_that_the_table_lacks(case: str, changed: dict[str, Any], tmp_path: Path) -> None:
    """An operator that the table has, used in a way it does not write and nobody expanded, is no other operator."""
    operator, arguments = CASES[case]
    entry, _, _ = _of_one(operator, arguments | changed)

    with pytest.raises(Unsupported, match=f"aten.{operator}, node out_0 of small.inference: the ONNX table lacks it"):
        to_onnx(entry, _program(entry, tmp_path, {}), tmp_path)
