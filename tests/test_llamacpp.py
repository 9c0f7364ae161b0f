"""The adapter of llama.cpp: its GGUF file, its context, and what it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from tests.checkpoints import engine, error, opened, ran, small_llama, write_program
from torch import nn

from pytest_inferena.worker import Entry, Setup, Unsupported

if TYPE_CHECKING:
    from pathlib import Path

api = pytest.importorskip("llama_cpp", reason="the extra 'llamacpp' is not installed")
pytest.importorskip("gguf", reason="the extra 'llamacpp' is not installed")
TOKENS = {"input_ids": torch.tensor([[3, 9, 1, 39, 0], [7, 7, 2, 30, 11]])}
ONE = {"input_ids": torch.tensor([[5]])}


@pytest.mark.parametrize("tied", [True, False])
def test_all_logits_of_a_batch(tied: bool, tmp_path: Path) -> None:
    """Rows are sequences of their own, a second step starts anew, and nothing is rounded to 16 bits."""
    module = small_llama(tie_word_embeddings=tied)
    program = write_program(tmp_path, module, inference=TOKENS, latency=ONE)
    (tmp_path / "exchange").mkdir()
    adapter = opened("llamacpp", program, tmp_path / "exchange")
    steps = [adapter.compile(program.entry(name)) for name in ("inference", "latency")]

    assert error(module, TOKENS, ran(steps[0])) < 2e-6
    assert error(module, ONE, ran(steps[1])) < 2e-6


def test_what_ran_is_read_from_the_library(tmp_path: Path) -> None:
    """The features are those that the library says it has."""
    name, features, threads = engine("llamacpp")(Setup("cpu", "cpu", 3, tmp_path)).describe().split(", ")
    said = api.llama_print_system_info().decode()

    assert name == "llama.cpp"
    assert threads == "3 threads"
    assert features.startswith("CPU with ")
    assert said.count(" = 1") == len(features.split()[2:])
    assert all(f"{feature} = 1" in said for feature in features.split()[2:])


def test_another_architecture(tmp_path: Path) -> None:
    """No model is written, and every entry says why."""
    inputs = {"input": torch.zeros(1, 4)}
    program = write_program(tmp_path, nn.Linear(4, 4), inference=inputs, latency=inputs)
    (tmp_path / "exchange").mkdir()
    adapter = opened("llamacpp", program, tmp_path / "exchange")

    assert ["inference.unsupported", "latency.unsupported"] == sorted(file.name for file in adapter.exchange.iterdir())
    with pytest.raises(Unsupported, match=r"llama.cpp runs architectures that it knows: not a Llama: node linear"):
        adapter.compile(program.entry("latency"))


def test_a_damaged_model(tmp_path: Path) -> None:
    """The error has what the library said."""
    (tmp_path / "model.gguf").write_bytes(b"no model")
    adapter = engine("llamacpp")(Setup("cpu", "cpu", 1, tmp_path, tmp_path))
    adapter.load(None, {})
    with pytest.raises(RuntimeError, match=r"llama.cpp cannot open the model that was prepared: .*magic"):
        adapter.compile(Entry("latency", (), (), (), (), {}))


def test_without_exchange_files(tmp_path: Path) -> None:
    """The adapter says what is missing."""
    with pytest.raises(ValueError, match="none were prepared"):
        engine("llamacpp")(Setup("cpu", "cpu", 1, tmp_path)).load(None, {})
