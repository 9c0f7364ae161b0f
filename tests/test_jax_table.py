"""Tests of the JAX adapter's operators: each computes what PyTorch's does."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from tests.programs import gradients, run, training
from tests.test_program_page import FIRST, SECOND
from tests.zoo import model

from pytest_inferena.worker import Unsupported, evaluate
from pytest_inferena.worker.aten import operator
from pytest_inferena.worker.program import Node, TensorSpec

pytest.importorskip("jax", reason="jax not installed: pip install 'pytest-inferena[jax]'")
pytestmark = pytest.mark.filterwarnings("ignore:Explicitly requested dtype int64")  # JAX takes int32 for it

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_inferena.worker.program import Entry

FILE = Path(__file__).parents[1] / "adapters" / "jax" / "jax_adapter.py"


def _table() -> dict[str, Callable[..., Any]]:
    made = importlib.util.spec_from_file_location("tests_jax_adapter", FILE)
    assert made is not None
    assert made.loader is not None
    module = importlib.util.module_from_spec(made)
    made.loader.exec_module(module)
    table: dict[str, Callable[..., Any]] = module.OPERATORS
    return table


OPERATORS = _table()
torch.manual_seed(0)
X, Y, P = torch.randn(2, 3, 4), torch.randn(2, 3, 4), torch.rand(2, 3, 4) + 0.1
N, B = torch.arange(24).reshape(2, 3, 4) % 5, torch.randn(2, 3, 4) > 0
IMAGE, Q, K = torch.randn(2, 4, 7, 8), torch.randn(2, 4, 5, 6), torch.randn(2, 2, 5, 6)
W, V, C = torch.randn(4), torch.randn(4), torch.rand(4) + 0.5
LABELS = torch.tensor([0, 3, -100])
TRUE, FLOATS = torch.ones(5, 5).tril().bool(), torch.randn(1, 1, 5, 5)

CASES: dict[str, list[list[Any]]] = {
    **{name: [[X, Y], [X, 2], [N, N[:1]]] for name in ("add", "sub", "mul")},
    **{name: [[X, Y], [X, 0.1], [N, 2]] for name in ("eq", "ne", "lt", "le", "gt", "ge")},
    **{name: [[X]] for name in ("cos", "sin", "exp", "erf", "relu", "sigmoid", "silu", "tanh", "abs", "neg")},
    **{name: [[P]] for name in ("log", "log1p", "sqrt", "rsqrt")},
    **{name: [[X, 0], [X, 2]] for name in ("cumsum", "log_softmax", "softmax")},
    **{name: [[X, [2], False], [X, [0, 2], True], [X, [0, 1, 2], False]] for name in ("amax", "mean", "sum")},
    **{name: [[X, Y], [X, Y[:1]]] for name in ("maximum", "minimum")},
    **{name: [[B, B.mT.reshape(2, 3, 4)]] for name in ("logical_and", "logical_or")},
    "logical_not": [[B]],
    "avg_pool2d": [
        [IMAGE, [2, 2], [2, 2], [0, 0], False, True, None],
        [IMAGE, [3, 2], [1, 2], [1, 0], False, True, None],
    ],
    "batch_norm": [[IMAGE, W, V, V, C, 1e-3], [torch.randn(3, 4), W, V, V, C, 1e-3]],
    "cat": [[[X, Y], 0], [[X, Y[:, :, :2]], 2]],
    "clamp": [[X, -0.5, 0.5], [X, None, 0.1], [X, 0.1, None], [N, None, 2]],
    "conv1d": [
        [X, torch.randn(5, 3, 2), torch.randn(5), [1], [1], [1], 1],
        [torch.randn(1, 4, 9), torch.randn(6, 2, 3), None, [2], [2], [2], 2],
    ],
    "conv2d": [
        [IMAGE, torch.randn(5, 4, 3, 2), torch.randn(5), [1, 1], [1, 0], [1, 1], 1],
        [IMAGE, torch.randn(4, 1, 3, 3), None, [2, 3], [2, 1], [2, 1], 4],
    ],
    "cross_entropy_loss": [[torch.randn(3, 4), LABELS, None, 1, -100, 0.0]],
    "detach": [[X]],
    "div": [[X, P], [X, 2.0], [1.0, P]],
    "embedding": [[torch.randn(5, 4), N[0]]],
    "expand": [[X[:, :1], [2, 3, 4]], [W, [2, 3, 4]]],
    "full": [[[2, 3], 0.5, "float32"], [[], 3, "int64"], [[4], True, "bool"]],
    "gather": [[X, 2, N[:, :, :2] % 4], [X, 1, N[:, :1] % 3]],
    "gelu": [[X, "none"], [X, "tanh"]],
    "group_norm": [[IMAGE, 2, W, V, 1e-3], [IMAGE, 4, None, None, 1e-5]],
    "index_select": [[X, 1, torch.tensor([2, 0])]],
    "layer_norm": [[X, [4], W, V, 1e-3], [X, [3, 4], None, None, 1e-5], [X, [4], W, None, 1e-5]],
    "linear": [[X, torch.randn(5, 4), torch.randn(5)], [X, torch.randn(5, 4), None]],
    "matmul": [[X, Y.mT], [X[0], W], [X, Y[0].t()]],
    "max_pool2d": [[IMAGE, [2, 2], [2, 2], [0, 0], [1, 1], False], [IMAGE, [3, 2], [2, 1], [1, 1], [1, 2], False]],
    "mse_loss": [[X, Y, 0], [X, Y, 1], [X, Y, 2]],
    "permute": [[X, [2, 0, 1]]],
    "pow": [[X, 2], [X, 3], [P, 0.5], [2.0, X], [P, X]],
    "reshape": [[X, [6, 4]], [X, [24]]],
    "rms_norm": [[X, [4], W, 1e-3], [X, [3, 4], torch.randn(3, 4), 1e-5]],
    "rotary_embedding": [[Q, torch.randn(5, 3), torch.randn(5, 3)]],
    "scaled_dot_product_attention": [
        [Q, Q, Q, None, False, 0.7, False],
        [Q, K, K, None, True, 0.7, True],
        [Q, Q, Q, TRUE, False, 0.7, False],
        [Q, K, K, FLOATS, False, 0.7, True],
        [Q[:, :, :3], Q, Q, None, True, 0.7, False],
    ],
    "slice": [[X, 2, 1, 4, 2], [X, 0, 0, 1, 1]],
    "to": [[X, "int32"], [N, "float32"], [B, "float32"], [X, "bool"]],
    "upsample_nearest2d": [[IMAGE, [14, 16]], [IMAGE, [7, 24]]],
    "where": [[B, X, Y], [B, X, 0.5], [B, 0.5, X], [B, torch.tensor(1.0), 0.0]],
}


def arrays(value: Any) -> Any:
    """Tensors as NumPy arrays, also inside lists."""
    if isinstance(value, list):
        return [arrays(item) for item in value]
    return value.numpy() if isinstance(value, torch.Tensor) else value


def same(found: Any, right: torch.Tensor, *, close: float = 2e-5) -> None:
    """Shape and kind are equal, values within rounding of the largest (JAX has no int64)."""
    array = np.asarray(found)

    assert (tuple(right.shape), right.numpy().dtype.kind) == (array.shape, array.dtype.kind)
    scale = max(float(right.double().abs().max()), 1e-3)
    np.testing.assert_allclose(array.astype("f8") / scale, right.double().numpy() / scale, rtol=0, atol=close)


@pytest.mark.parametrize(
    ("name", "index"), [(name, index) for name, cases in CASES.items() for index in range(len(cases))]
)
def test_operator(name: str, index: int) -> None:
    """The same as PyTorch, for every way of calling it."""
    torch.set_num_threads(1)
    arguments = CASES[name][index]
    names = FIRST[name]
    node = Node(name, dict(zip(names, arguments, strict=True)), (TensorSpec("a", (), ""),))
    if name == "cross_entropy_loss":
        right = torch.nn.functional.cross_entropy(arguments[0], arguments[1])
    else:
        right = _aten(node)

    same(OPERATORS[name](*arrays(arguments)), right)


def _aten(node: Node) -> torch.Tensor:
    """By worker/aten.py's table."""
    keywords = {
        key: node.arguments[key] for key in ("approximate",) if key in node.arguments and node.operator != "gelu"
    }
    positional = [value for key, value in node.arguments.items() if key not in keywords]
    result: torch.Tensor = operator(node)(*positional, **keywords)
    return result


def walked(entry: Entry, name: str) -> dict[str, Any]:
    """What the table makes of one of the zoo's entries."""
    module, inputs = model(name)
    parameters = {key: value.detach().numpy() for key, value in module.named_parameters()}
    return evaluate(entry, OPERATORS, {**entry.arrays("constants"), **parameters, **arrays_of(inputs)})


def arrays_of(inputs: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Inputs as NumPy arrays."""
    return {key: value.numpy() for key, value in inputs.items()}


@pytest.mark.parametrize("name", ["bert", "llama", "resnet", "whisper"])
def test_zoo(name: str) -> None:
    """Operators in the combinations of real models, by a loss that depends on each output."""
    module, inputs = model(name)
    right = run(training(name), module, inputs)

    same(walked(training(name), name)["loss"], right["loss"].detach())


def test_mlp_gradients() -> None:
    """Where the table has every operator of a joint graph, it computes that too."""
    module, inputs = model("mlp")
    right = run(gradients("mlp"), module, inputs)
    for key, found in walked(gradients("mlp"), "mlp").items():
        same(found, right[key].detach())


def test_every_operator_is_tested_and_documented() -> None:
    """An operator in the table stands above and on the page, with as many arguments in each case."""
    assert set(CASES) == set(OPERATORS)
    assert set() == set(OPERATORS) - FIRST.keys() - SECOND.keys()
    assert {} == {name: args for name, args in CASES.items() if any(len(case) != len(FIRST[name]) for case in args)}


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("max_pool2d", [IMAGE, [2, 2], [2, 2], [0, 0], [1, 1], True]),
        ("avg_pool2d", [IMAGE, [2, 2], [2, 2], [0, 0], True, True, None]),
        ("avg_pool2d", [IMAGE, [2, 2], [2, 2], [0, 0], False, True, 3]),
        ("avg_pool2d", [IMAGE, [3, 3], [2, 2], [1, 1], False, False, None]),
        ("upsample_nearest2d", [IMAGE, [10, 12]]),
        ("upsample_nearest2d", [IMAGE, [3, 8]]),
        ("cross_entropy_loss", [X[0], LABELS, W, 1, -100, 0.0]),
        ("cross_entropy_loss", [X[0], LABELS, None, 2, -100, 0.0]),
        ("cross_entropy_loss", [X[0], LABELS, None, 1, -100, 0.1]),
    ],
)
def test_what_the_table_cannot_is_unsupported(name: str, arguments: list[Any]) -> None:
    """It says so, and computes nothing wrong."""
    with pytest.raises(Unsupported, match=name):
        OPERATORS[name](*arrays(arguments))
