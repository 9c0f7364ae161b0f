"""The adapter of ExecuTorch: what is lowered, what stays free, and what it lacks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from tests.conformance import ROOT

from pytest_inferena.worker import Entry, Program, Setup, Unsupported
from pytest_inferena.worker.format import Node, Ref, TensorSpec
from pytest_inferena.worker.loading import load_adapter

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("executorch", reason="executorch not installed: inferena setup executorch")
pytestmark = pytest.mark.filterwarnings("default")  # what it warns of is its own affair
FILE = ROOT / "adapters" / "executorch" / "adapter.py"
X, W = np.array([[1, -2, 3, -4]], np.float32), np.arange(16, dtype=np.float32).reshape(4, 4)


def _program(folder: Path, *operators: str) -> Program:
    """A Program of x @ wᵀ with operators of one operand applied, one after the other; its entries are alike."""
    specs = [TensorSpec(f"y{index}", (1, 4), "float32") for index in range(len(operators) + 1)]
    product = {"input": Ref("x"), "weight": Ref("w"), "bias": None}
    nodes = [Node("linear", product, (specs[0],))]
    nodes += [
        Node(operator, {"self": Ref(specs[index].name)}, (specs[index + 1],))
        for index, operator in enumerate(operators)
    ]
    for name in ("inference", "joint"):
        entry = Entry(
            name, (TensorSpec("x", X.shape, "float32"),), ("w",), (), tuple(nodes), {"output": specs[-1].name}
        )
        (folder / f"{name}.json").write_text(json.dumps(entry.to_json()))
        save_file({"x": X}, folder / f"{name}.inputs.safetensors")
        save_file({}, folder / f"{name}.constants.safetensors")
    save_file({"w": W}, folder / "weights.safetensors")
    program = Program(folder, "small", {"w": TensorSpec("w", W.shape, "float32")}, frozenset({"w"}))
    program.write()
    return program


def _adapter(program: Program) -> Any:
    adapter = load_adapter("executorch", FILE).Adapter(Setup("xnnpack", "cpu", 1, program.folder))
    adapter.load(program, {"w": W.copy()})
    return adapter


def _computed(step: Any) -> np.ndarray[Any, Any]:
    step()
    step.synchronize()
    found: np.ndarray[Any, Any] = step.outputs()["output"]
    return found


def test_a_step_can_be_repeated(tmp_path: Path) -> None:
    """Its inputs are where nothing overwrites them, though XNNPACK runs a part of it and its own kernels another."""
    program = _program(tmp_path, "neg", "atan", "exp", "atan", "cos", "abs")
    adapter = _adapter(program)
    step = adapter.compile(program.entry("inference"))
    right = np.abs(np.cos(np.arctan(np.exp(np.arctan(-X @ W.T)))))

    assert [True] * 3 == [np.allclose(right, _computed(step), atol=1e-6) for _ in range(3)]
    assert adapter.describe().startswith("ExecuTorch, ")
    assert " parts in XNNPACK, 2 operators in its own kernels" in adapter.describe()
    assert adapter.describe().endswith(", 1 threads")


def test_parameters_of_a_training_step_stay_free(tmp_path: Path) -> None:
    """They may change between steps, where those of inference are packed."""
    program = _program(tmp_path, "relu")
    adapter = _adapter(program)
    steps = {name: adapter.compile(program.entry(name)) for name in ("inference", "joint")}
    before = np.maximum(X @ W.T, 0)
    assert np.allclose(before, _computed(steps["joint"]))
    with torch.no_grad():
        adapter.parameters["w"].neg_()

    assert np.allclose(np.maximum(X @ -W.T, 0), _computed(steps["joint"]))
    assert np.allclose(before, _computed(steps["inference"]))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation", "groups"),
    [
        ([1, 1], [1, 1], [0, 0], [1, 1], 1),
        ([3, 2], [1, 1], [1, 0], [1, 1], 1),
        ([3, 3], [2, 2], [1, 1], [1, 1], 1),
        ([3, 3], [2, 1], [2, 1], [2, 1], 1),
        ([1, 1], [2, 2], [1, 1], [1, 1], 1),
        ([3, 3], [2, 2], [1, 1], [1, 1], 2),
    ],
)
def test_convolutions_of_a_step_are_products(
    kernel: list[int], stride: list[int], padding: list[int], dilation: list[int], groups: int, *, transposed: bool
) -> None:
    """What stands for a convolution computes it, whatever its window and whichever way it runs."""
    torch.manual_seed(0)
    convolution = load_adapter("executorch", FILE).training.convolution
    image, bias = torch.randn(2, 4, 7, 6), torch.randn(4)
    weight = torch.randn(4, 4 // groups, *kernel)
    window = (stride, padding, dilation, transposed, [0, 0], groups)
    made = convolution(image.permute(0, 2, 3, 1), weight.permute(2, 3, 1, 0), bias, *window)

    right = torch.convolution(image, weight, bias, *window)
    assert torch.allclose(right, made.permute(0, 3, 1, 2), atol=1e-5)


def test_a_window_of_three_dimensions_is_refused() -> None:
    """As in inference: its kernel has two."""
    convolution = load_adapter("executorch", FILE).training.convolution
    cube, one = torch.ones(1, 2, 2, 2, 1), [1] * 3

    with pytest.raises(Unsupported, match=r"aten\.convolution: its kernel has two dimensions"):
        convolution(cube, torch.ones(1, 1, 1, 1, 1), None, one, [0] * 3, one, False, [0] * 3, 1)


def test_a_part_of_a_step_needs_earlier_parts_alone(tmp_path: Path) -> None:
    """XNNPACK gets as few parts as there are stages between operators that it lacks, and none waits for a later one."""
    chain = _program(tmp_path, "neg", "atan", "exp", "atan", "cos", "abs")
    adapter = _adapter(chain)
    step = adapter.compile(chain.entry("joint"))

    assert np.allclose(np.abs(np.cos(np.arctan(np.exp(np.arctan(-X @ W.T))))), _computed(step), atol=1e-6)
    # between the four: the product by a weight that is no constant, and twice atan
    assert adapter.describe().startswith("ExecuTorch, 4 parts in XNNPACK, 3 operators in its own kernels, ")
