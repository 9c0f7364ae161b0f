"""Batches and lengths that a user asks for: what each source makes of them, and where they are told."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import torch
from tests.conformance import ROOT
from torch import nn
from transformers import BertConfig, BertForMaskedLM

from pytest_inferena import Case, results
from pytest_inferena.collect.source import Source
from pytest_inferena.prepare.sources import load_case
from pytest_inferena.worker.format import Unsupported

if TYPE_CHECKING:
    from pathlib import Path

    from tests.projects import Project

BERT = BertConfig(
    vocab_size=60, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24,
    max_position_embeddings=12,
)  # fmt: skip
FIXED = """
import torch
from pytest_inferena import Case

def case(size="full"):
    return Case(torch.nn.Linear(3, 2), torch.ones(4, 3))
"""
OWN = """
def test_own(inferena):
    small, large = (inferena.measure("mlp", framework="fake", batch=count) for count in (2, 8))
    assert (2, 8) == (len(small.outputs["output"]), len(large.outputs["output"]))
    assert (2, 8) == (small.record.batch, large.record.batch)
"""


def bert() -> nn.Module:
    """A module with a configuration."""
    return BertForMaskedLM(BERT)


def fixed() -> Case:
    """One batch only."""
    return Case(nn.Linear(3, 2), torch.ones(4, 3))


partly = partial(fixed)
"""A callable without a name."""


def sized(batch: int | None = None) -> Case:
    """Any batch."""
    return Case(nn.Linear(3, 2), torch.ones(batch or 4, 3))


def _models(name: str) -> str:
    return str(ROOT / "benchmarks" / "models" / f"{name}.py")


@pytest.mark.parametrize(
    ("source", "batch", "seq", "shapes"),
    [
        (_models("resnet50"), 3, None, [(3, 3, 64, 64), (1, 3, 64, 64)]),
        (_models("sd_unet"), 3, None, [(3, 4, 16, 16), (1, 4, 16, 16)]),
        (_models("smollm2"), 2, 16, [(2, 16), (1, 1)]),
        ("tests.test_batches:bert", 2, 6, [(2, 6), (1, 6)]),
        ("tests.test_batches:bert", None, None, [(4, 10), (1, 10)]),
        ("tests.test_batches:sized", 3, None, [(3, 3), (1, 3)]),
        ("timm:resnet10t", 2, None, [(2, 3, 176, 176), (1, 3, 176, 176)]),
        ("torchvision:mobilenet_v3_small", 2, None, [(2, 3, 224, 224), (1, 3, 224, 224)]),
    ],
)
def test_what_is_asked_for_is_made(source: str, batch: int | None, seq: int | None, shapes: list[object]) -> None:
    """The inputs have it; latency is that of one element."""
    case = load_case(Source.parse(source, ROOT), "tiny", batch, seq)
    first = [next(iter(inputs.values())).shape for inputs in (case.inputs, case.latency)]

    assert shapes == first


def test_the_usual_inputs_stay() -> None:
    """A model that has a usual batch and length has the same inputs when it is asked for those."""
    usual = load_case(ROOT / "benchmarks" / "models" / "smollm2.py", "tiny")
    asked = load_case(ROOT / "benchmarks" / "models" / "smollm2.py", "tiny", 1, 32)

    assert usual.inputs["input_ids"].tolist() == asked.inputs["input_ids"].tolist() == [[*range(32)]]
    assert usual.targets["labels"].tolist() == asked.targets["labels"].tolist() == [[*range(1, 33)]]


@pytest.mark.parametrize(
    ("source", "asked", "message"),
    [
        (
            _models("whisper_tiny"),
            {"batch": 8},
            r"tiny.py has no batch size .* 8: let case\(\) take batch=None",
        ),
        (_models("resnet50"), {"seq": 8}, r"no sequence length that can be set to 8: let case\(\) take seq=None"),
        ("tests.test_batches:fixed", {"batch": 8}, r"fixed has no batch size .*: let fixed\(\) take batch=None"),
        ("tests.test_batches:partly", {"batch": 8}, r"let tests.test_batches:partly\(\) take batch=None"),
        ("tests.test_batches:bert", {"seq": 11}, "BertForMaskedLM has no sequence .* 11: it has places for 10 tokens"),
        ("timm:resnet10t", {"seq": 8}, "ResNet has no sequence length that can be set to 8: it takes pictures"),
        ("torchvision:mobilenet_v3_small", {"seq": 8}, "it takes pictures"),
    ],
)
def test_what_a_model_does_not_have(source: str, asked: dict[str, Any], message: str) -> None:
    """Its cells are unsupported, for a reason that names the remedy; those of other models go on."""
    with pytest.raises(Unsupported, match=message):
        load_case(Source.parse(source, ROOT), "tiny", **asked)


def test_an_archive_has_its_own(tmp_path: Path) -> None:
    """Shapes were fixed when it was exported."""
    torch.export.save(torch.export.export(nn.Linear(3, 2), (torch.ones(4, 3),)), tmp_path / "net.pt2")

    with pytest.raises(Unsupported, match="export it once more, with inputs of that size"):
        load_case(Source.parse("net.pt2", tmp_path), "full", batch=2)


def test_a_run_with_batches(project: Project) -> None:
    """Each is a cell with figures of its own, and a table that says the batch; latency is left to the usual one."""
    options = "-m", "latency or training or inference", "--inferena-report=md:report"
    result = project.run("--inferena-batch=1,8", *options)
    found = results.read(project.journals()[-1]).records
    page = (project.path / "report").read_text(encoding="utf-8")

    result.assert_outcomes(passed=4, deselected=4)
    assert [("inference", 1), ("training", 1), ("inference", 8), ("training", 8)] == [
        (record.metric, record.batch) for record in found
    ]
    assert "'test_training.py::test_training[mlp-fake-numeric-batch8]'" in found[-1].command
    assert "--inferena-batch=1,8" in found[-1].command
    assert ["batch 1", "batch 8"] == re.findall(r"(?m)^## Tiny MLP, (.*)$", page)
    assert "8 samples in one inference step" in page


def test_a_model_without_batches_in_a_run(project: Project) -> None:
    """The table has the reason."""
    project.write("models/fixed.py", FIXED)
    result = project.run("--inferena-batch=8", "-m", "inference", "-rs")

    result.assert_outcomes(passed=1, skipped=1, deselected=6)
    result.stdout.fnmatch_lines(["SKIPPED * *fixed.py has no batch size that can be set to 8: let case() take *"])


def test_in_a_test_of_ones_own(project: Project) -> None:
    """It is chosen as the size is."""
    project.write("test_own.py", OWN)

    project.run("test_own.py").assert_outcomes(passed=1)


@pytest.mark.parametrize("given", ["0", "x", "1,", "-1", "1.5"])
def test_what_is_no_count(project: Project, given: str) -> None:
    """One line says what is expected and what is not, before anything is collected."""
    wrong = given.rsplit(",", maxsplit=1)[-1]
    result = project.run(f"--inferena-batch={given}")

    assert 4 == result.ret
    expected = "a whole number from 1 to 2147483647 is expected, with commas between several"
    result.stderr.fnmatch_lines([f"*--inferena-batch={wrong}: {expected}"])
