"""The backend `aot` of the PyTorch adapter: a library compiled ahead, for inference alone."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
import torch
from tests.conformance import ROOT
from tests.small_entries import Small, spec

from pytest_inferena.worker import Entry, Program, Setup, Unsupported
from pytest_inferena.worker.format import Ref
from pytest_inferena.worker.loading import load_adapter

if TYPE_CHECKING:
    from pathlib import Path

FILE = ROOT / "adapters" / "pytorch" / "adapter.py"


def _loaded(name: str, folder: Path) -> tuple[Any, Entry]:
    """The adapter, and an entry that is relu(x) + bias."""
    small = Small(name, {"x": torch.tensor([-1.0, 2.0])}, {"bias": torch.nn.Parameter(torch.tensor([10.0, 20.0]))})
    (result,) = small.add("relu", {"self": Ref("x")})
    (total,) = small.add("add", {"self": Ref(result), "other": Ref("bias")})
    program = Program(folder, "small", {"bias": spec("bias", small.parameters["bias"])}, frozenset({"bias"}))
    adapter = load_adapter("pytorch", FILE).Adapter(Setup("aot", "cpu", 1, folder))
    adapter.load(program, {"bias": small.parameters["bias"].detach().numpy()})
    return adapter, small.entry({"output": total})


@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ not found on PATH: install it")
@pytest.mark.filterwarnings("default")  # what the compiler warns of is its own affair
def test_a_library_is_compiled_and_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lies in the worker's scratch folder, holds the parameters, and computes with them."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    adapter, entry = _loaded("inference", tmp_path)
    step = adapter.compile(entry)
    adapter.parameters["bias"].data.zero_()
    for _ in range(2):
        step()
        step.synchronize()

    assert [10.0, 22.0] == step.outputs()["output"].tolist()
    assert (tmp_path / "inference.pt2").exists()


def test_training_is_refused(tmp_path: Path) -> None:
    """The reason is the engine's own."""
    adapter, entry = _loaded("training", tmp_path)

    with pytest.raises(Unsupported, match=r"AOTInductor compiles exported programs for inference"):
        adapter.compile(entry)
