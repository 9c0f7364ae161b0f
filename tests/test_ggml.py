"""The adapter of GGML: what ggml would abort on is refused, and an abort costs one worker."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from tests.conformance import PYTHON_WORKER, ROOT
from tests.programs import entry_of

from pytest_inferena.engines.framework import Framework
from pytest_inferena.processes.client import Launch, Worker, WorkerFailed
from pytest_inferena.program.expand import expand
from pytest_inferena.worker import Entry, Program, Setup, Unsupported
from pytest_inferena.worker.capabilities import require
from pytest_inferena.worker.format import Node, Ref, TensorSpec
from pytest_inferena.worker.loading import load_adapter

if TYPE_CHECKING:
    from pathlib import Path

ggml = pytest.importorskip("ggml.ggml", reason="ggml-python not installed: inferena setup ggml")
FILE = ROOT / "adapters" / "ggml" / "adapter.py"
Shape = tuple[int, ...]


def _program(
    folder: Path, operator: str, arguments: dict[str, Any], result: Shape, dtype: str = "float32", **inputs: Any
) -> Program:
    """A Program of one operator of inputs and the parameter `w` (4, 8)."""
    arrays = {name: np.asarray(value) for name, value in inputs.items()}
    specs = tuple(TensorSpec(name, array.shape, array.dtype.name) for name, array in arrays.items())
    used = ("w",) if Ref("w") in arguments.values() else ()
    node = Node(operator, arguments, (TensorSpec("y", result, dtype),))
    document = Entry("inference", specs, used, (), (node,), {"output": "y"}).to_json()
    (folder / "inference.json").write_text(json.dumps(document))
    save_file(arrays, folder / "inference.inputs.safetensors")
    save_file({}, folder / "inference.constants.safetensors")
    save_file({"w": np.arange(32, dtype=np.float32).reshape(4, 8)}, folder / "weights.safetensors")
    program = Program(folder, "small", {"w": TensorSpec("w", (4, 8), "float32")}, frozenset({"w"}))
    program.write()
    return program


def _adapter(program: Program) -> Any:
    adapter = load_adapter("ggml", FILE).Adapter(Setup("cpu", "cpu", 1, program.folder))
    adapter.load(program, {"w": np.arange(32, dtype=np.float32).reshape(4, 8)})
    return adapter


def _compiled(program: Program, adapter: Any = None) -> Any:
    """The step of what ggml lacks expanded, as the harness has it."""
    adapter, read = adapter or _adapter(program), program.entry("inference")
    entry = entry_of(expand(read, adapter.operators)[0])
    entry._arrays["inputs"] = read.arrays("inputs")
    require(adapter.operators, entry)
    return adapter.compile(entry)


def _computed(step: Any) -> np.ndarray[Any, Any]:
    step()
    step.synchronize()
    found: np.ndarray[Any, Any] = step.outputs()["output"]
    return found


def test_an_abort_costs_its_own_worker(tmp_path: Path) -> None:
    """An index out of range, which ggml asserts when it computes, is a crash of one worker that says so."""
    rows = {"weight": Ref("w"), "indices": Ref("x")}
    program = _program(tmp_path, "embedding", rows, (1, 8), x=np.array([4]))
    framework = Framework.read(FILE.parent)
    command = (sys.executable, str(PYTHON_WORKER), "ggml", str(FILE), *framework.requirements)
    worker = Worker(Launch(command, 1, framework.env, tmp_path / "worker"))
    try:
        worker.ask(
            "hello", 60, protocol=1, backend="cpu", device="cpu", threads=1, scratch=str(tmp_path), exchange=None
        )
        worker.ask("load", 60, program=str(program.folder), entries=["inference"])
        with pytest.raises(WorkerFailed, match="killed by SIGABRT") as caught:
            worker.ask("compile", 60, entry="inference")
        assert "crash" == caught.value.outcome
        assert "GGML_ASSERT" in worker.tail()
    finally:
        worker.kill()


def test_parameters_may_change_between_steps(tmp_path: Path) -> None:
    """A step reads the parameters where they lie, and leaves them as they are."""
    x = np.ones((2, 8), np.float32)
    program = _program(tmp_path, "linear", {"input": Ref("x"), "weight": Ref("w"), "bias": None}, (2, 4), x=x)
    adapter = _adapter(program)
    step = _compiled(program, adapter)
    before = [_computed(step) for _ in range(2)]
    sys.modules[type(adapter).__module__].fill(adapter.parameters["w"].tensor, x.repeat(2, 0))

    assert [[28.0, 92.0, 156.0, 220.0]] * 4 == np.concatenate(before).tolist()
    assert [[8.0] * 4] * 2 == _computed(step).tolist()


IMAGE, FIVE = np.ones((2, 2, 3, 3), np.float32), np.ones((2, 2, 2, 2, 2), np.float32)
WINDOW = {"bias": None, "stride": [1, 1], "padding": [0, 0], "dilation": [2, 2], "groups": 1}
REFUSED: dict[str, tuple[str, dict[str, Any], Any, str]] = {
    "integers": ("eq", {"self": Ref("x"), "other": 1}, np.array([1 << 24]), r"integers of 2\^24"),
    "doubles": ("abs", {"self": Ref("x")}, np.ones(2), "abs, node y: it has it only where dtype is float32"),
    "arithmetic": (
        "add",
        {"self": Ref("x"), "other": 1},
        np.arange(2),
        "add, node y: it has it only where dtype is float32",
    ),
    "rank": ("permute", {"self": Ref("x"), "dims": [4, 3, 2, 1, 0]}, FIVE, "5 dimensions"),
    "rolled": ("roll", {"self": Ref("x"), "shifts": [1], "dims": [0]}, FIVE, "5 dimensions"),
    "window": ("conv2d", {"input": Ref("x"), "weight": Ref("x"), **WINDOW}, IMAGE, "larger than its image"),
    "empty": ("abs", {"self": Ref("x")}, np.ones((0, 2), np.float32), "no elements"),
}
"""An operator on `x`, `x` itself, and what the reason says."""


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_abort_is_refused(name: str, tmp_path: Path) -> None:
    """Dtypes, numbers, ranks and windows that ggml has no kernel for end in a reason, not in the process's end."""
    operator, arguments, x, message = REFUSED[name]
    program = _program(tmp_path, operator, arguments, x.shape, x.dtype.name, x=x)

    with pytest.raises(Unsupported, match=message):
        _compiled(program)


def test_five_dimensions_that_move_as_four(tmp_path: Path) -> None:
    """Neighbours that stay together, and dimensions of size 1, need none of ggml's four."""
    x = np.random.default_rng(0).standard_normal((2, 3, 1, 4, 5), np.float32)
    program = _program(tmp_path, "permute", {"self": Ref("x"), "dims": [3, 4, 2, 0, 1]}, (4, 5, 1, 2, 3), x=x)

    assert np.array_equal(x.transpose(3, 4, 2, 0, 1), _computed(_compiled(program)))


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_is_looked_up_in_no_table(approximate: str, tmp_path: Path) -> None:
    """ggml_gelu rounds to 16 bits; this GELU has 32."""
    x = np.linspace(-4, 4, 1001, dtype=np.float32)
    program = _program(tmp_path, "gelu", {"self": Ref("x"), "approximate": approximate}, x.shape, x=x)
    right = torch.nn.functional.gelu(torch.from_numpy(x).double(), approximate=approximate).numpy()

    assert np.abs(_computed(_compiled(program)) - right).max() < 1e-6


def test_what_it_was_built_with_is_said(tmp_path: Path) -> None:
    """By the library's own account: its version, and the instruction sets of its kernels."""
    program = _program(tmp_path, "abs", {"self": Ref("x")}, (2,), x=np.ones(2, np.float32))
    described = _adapter(program).describe()

    assert f"ggml {ggml.ggml_version().decode()} on CPU" in described
    assert ("avx512" in described) == bool(ggml.ggml_cpu_has_avx512())
    assert described.endswith(", 1 threads")
