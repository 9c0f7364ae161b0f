"""The adapter of CTranslate2: the models that it writes, Whisper's decoder step by step, and what it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import save_file
from tests.checkpoints import engine, error, opened, ran, small_llama, small_whisper, write_program
from torch import nn

from pytest_inferena.worker import Program, Setup, Unsupported

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("ctranslate2", reason="the extra 'ctranslate2' is not installed")
TOKENS = {"input_ids": torch.tensor([[3, 9, 1, 39, 0], [7, 7, 2, 30, 11]])}
ONE = {"input_ids": torch.tensor([[5]])}
SOUND = torch.randn(2, 10, 24, generator=torch.Generator().manual_seed(0))


def speech(*tokens: list[int]) -> dict[str, torch.Tensor]:
    """Inputs of a Whisper with these rows of tokens."""
    return {"input_features": SOUND[: len(tokens)], "decoder_input_ids": torch.tensor(tokens)}


@pytest.mark.parametrize("tied", [True, False])
def test_all_logits_of_a_llama(tied: bool, tmp_path: Path) -> None:
    """Both entries run on one model; a head that is the embedding is stored once."""
    module = small_llama(tie_word_embeddings=tied)
    program = write_program(tmp_path, module, inference=TOKENS, latency=ONE)
    (tmp_path / "exchange").mkdir()
    adapter = opened("ctranslate2", program, tmp_path / "exchange")
    before = adapter.describe()
    steps = [adapter.compile(program.entry(name)) for name in ("inference", "latency")]
    embedding = 4 * 40 * 24
    size = (adapter.exchange / "llama" / "model.bin").stat().st_size

    assert error(module, TOKENS, ran(steps[0])) < 2e-6
    assert error(module, ONE, ran(steps[1])) < 2e-6
    assert before == "CTranslate2, no model yet"
    assert adapter.describe() == "CTranslate2, cpu, float32, 1 threads"
    assert abs(size - (tmp_path / "weights.safetensors").stat().st_size) < embedding


def test_all_logits_of_a_whisper(tmp_path: Path) -> None:
    """Steps over tokens that are given make the logits that the decoder has for all of them at once."""
    module, prompt, start = small_whisper(), speech([2, 0, 39, 1], [2, 17, 17, 2]), speech([2])
    program = write_program(tmp_path, module, inference=prompt, latency=start)
    (tmp_path / "exchange").mkdir()
    adapter = opened("ctranslate2", program, tmp_path / "exchange")
    steps = [adapter.compile(program.entry(name)) for name in ("inference", "latency")]

    assert error(module, prompt, ran(steps[0])) < 2e-6
    assert error(module, start, ran(steps[1])) < 2e-6


@pytest.fixture(scope="module")
def whispering(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A Whisper with two rows of two tokens in both entries, the first of them 2."""
    rows = speech([2, 4], [2, 5])
    return write_program(tmp_path_factory.mktemp("whisper"), small_whisper(), inference=rows, latency=rows)


@pytest.mark.parametrize("latency", [[[3, 4], [3, 5]], [[2, 2], [2, 5]], [[2, 4], [3, 5]]])
def test_tokens_that_whisper_does_not_start_with(whispering: Program, latency: list[list[int]], tmp_path: Path) -> None:
    """The engine looks for one special token at the start of all rows; an entry that has none is refused."""
    save_file(speech(*latency), whispering.folder / "latency.inputs.safetensors")
    adapter = opened("ctranslate2", whispering, tmp_path)
    adapter.compile(whispering.entry("inference"))
    with pytest.raises(Unsupported, match="takes one special token at the start of rows, here 2"):
        adapter.compile(whispering.entry("latency"))


def test_another_architecture(tmp_path: Path) -> None:
    """Both refusals stand in the reason."""
    inputs = {"input": torch.zeros(1, 4)}
    program = write_program(tmp_path, nn.Linear(4, 4), inference=inputs, latency=inputs)
    (tmp_path / "exchange").mkdir()
    adapter = opened("ctranslate2", program, tmp_path / "exchange")
    with pytest.raises(Unsupported, match=r"not a Llama: node linear .* has a bias; not a Whisper: node linear"):
        adapter.compile(program.entry("inference"))


def test_without_exchange_files(tmp_path: Path) -> None:
    """The adapter says what is missing."""
    with pytest.raises(ValueError, match="none were prepared"):
        engine("ctranslate2")(Setup("cpu", "cpu", 1, tmp_path)).load(None, {})
