from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from tests.sources import case_of, trained
from torch import nn

from pytest_inferena import Case
from pytest_inferena.collect.model import Model
from pytest_inferena.collect.source import Source
from pytest_inferena.prepare.attempts import Attempts
from pytest_inferena.prepare.complete import found_out
from pytest_inferena.prepare.entries import entries
from pytest_inferena.prepare.weights import resolve_weights

if TYPE_CHECKING:
    from pathlib import Path

    from tests.projects import Project

NET = """\
import torch
from pytest_inferena import Case


def case(size="full"):
    return Case(torch.nn.Linear(3, 2), torch.ones(4, 3))
"""


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("my_net.py", "file", "my_net"),
        ("./net.v2.pt2", "pt2", "net_v2"),
        ("hf:./my-bert", "hf", "my_bert"),
        ("hf:Qwen/Qwen3-0.6B", "hf", "qwen3_0_6b"),
        ("diffusers:my-bert", "diffusers", "my_bert"),
        ("timm:vit_tiny.augreg", "timm", "vit_tiny_augreg"),
        ("torchvision:resnet18", "torchvision", "resnet18"),
        ("my_package.nets:MyNet", "python", "my_net"),
        ("nets:Zoo.make", "python", "zoo_make"),
        ("mine=timm:resnet18", "timm", "mine"),
    ],
)
def test_what_a_user_can_say(tmp_path: Path, text: str, kind: str, name: str) -> None:
    """Each kind has a model's name, and what is told of it is read as the same."""
    (tmp_path / "my-bert").mkdir()
    for file in ("my_net.py", "net.v2.pt2"):
        (tmp_path / file).touch()
    source = Source.parse(text, tmp_path)

    assert (kind, name) == (source.kind, source.name)
    assert source == Source.parse(str(source), None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("my_net", "my_net is no source of a model; there are hf:FOLDER_OR_ID, "),
        ("timm:", "nothing is named after timm:"),
        ("hf:./nowhere", r"nowhere: no such file or folder"),
        ("My-Net.py", r"My-Net.py: a model's file is named in \[a-z0-9_\]; rename it"),
    ],
)
def test_what_is_no_source(tmp_path: Path, text: str, message: str) -> None:
    """The message says what there is, or what to write."""
    (tmp_path / "My-Net.py").touch()

    with pytest.raises(ValueError, match=message):
        Model.of(Source.parse(text, tmp_path))


def test_a_module_and_inputs_are_enough(tmp_path: Path) -> None:
    """A file without constants: title, unit, items and parameters are found out; latency is the first element."""
    (tmp_path / "my_net.py").write_text(NET)
    case, model = case_of("my_net.py", tmp_path)

    assert ("My net", "own") == (model.title, model.usual_weights)
    assert {
        "module": "Linear", "parameters": 8, "inputs": "input (4, 3) float32",
        "loss": "mean squared error against a fixed target", "unit": "sample", "items": 4,
    } == found_out(case, model)  # fmt: skip
    assert ((4, 3), (1, 3)) == (case.inputs["input"].shape, case.latency["input"].shape)
    assert ["inference", "latency", "training"] == trained(case)


def test_own_weights_stay() -> None:
    """They are overwritten only where seeded ones are asked for."""
    module = nn.Linear(3, 2)
    nn.init.constant_(module.weight, 0.25)
    case = Case(module, {"input": torch.ones(2, 3)}, {"input": torch.ones(1, 3)})

    assert "own" == resolve_weights(case, "own")
    assert bool((module.weight == 0.25).all())
    assert "seeded" == resolve_weights(case, "seeded")
    assert not bool((module.weight == 0.25).any())


def test_weights_that_begin_at_random_are_the_same_each_time(tmp_path: Path) -> None:
    """What is prepared twice is the same."""
    (tmp_path / "my_net.py").write_text(NET)
    one, other = (case_of("my_net.py", tmp_path)[0] for _ in range(2))

    assert torch.equal(one.module.weight, other.module.weight)
    assert torch.equal(one.targets["target"][0], other.targets["target"][0])


def test_without_a_loss_there_is_no_training() -> None:
    """All else is measured."""
    attempts = Attempts()
    inputs = {"input": torch.ones(2, 3)}
    made = entries(Case(nn.Linear(3, 2), inputs, inputs, loss=None), attempts)

    assert ["inference", "latency"] == sorted(made)
    assert "nothing is to be trained: the case has no loss" == attempts.failed["training"]["message"]


NETS = """\
import torch
from pytest_inferena import Case


def make():
    print("something")
    return torch.nn.Linear(3, 2), torch.ones(4, 3)


def leave():
    raise SystemExit(3)


def fall():
    return 1 / 0


def nothing():
    return torch.nn.Linear(3, 2)
"""


def test_callables_beside_others(project: Project) -> None:
    """One by an option, one by the ini file; one that exits and one that raises cost only their own cells."""
    project.write("nets.py", NETS)
    project.append("pytest.ini", "inferena_models = nets:make\n    broken=nets:fall\n")
    options = ("--inferena-model=nets:leave", "--inferena-model=nets:nothing", "--benchmark-disable")
    result = project.run(*options, "-k", "inference and not mlp", fast=False)
    found = {name.partition("-")[0]: record for name, record in project.records().items()}

    assert {"make": "pass", "broken": "error", "leave": "error", "nothing": "error"} == {
        name: record["outcome"] for name, record in found.items()
    }
    assert "own" == found["make"]["weights"]
    assert "input (4, 3) float32" == found["make"]["extra"]["found_out"]["inputs"]
    assert "ZeroDivisionError" in found["broken"]["reason"]
    assert "nets.py:15 (return 1 / 0)" in found["broken"]["reason"]
    assert "nets:leave ends the process: exit(3)" in found["leave"]["reason"]
    assert "nobody knows what it takes; return Case(module, inputs)" in found["nothing"]["reason"]
    assert "--inferena-model=nets:leave" in found["make"]["command"]
    result.stdout.fnmatch_lines(["Model: Linear; 8 parameters; inputs input (4, 3) float32; loss*"])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--inferena-model=hf:./nowhere", "--inferena-model: *nowhere: no such file or folder*"),
        ("--inferena-model=nets:mlp", "*two models are named 'mlp': *nets:mlp; *"),
    ],
)
def test_what_cannot_be_a_model(project: Project, option: str, message: str) -> None:
    """It is a usage error, before anything is measured."""
    result = project.run(option)

    assert pytest.ExitCode.USAGE_ERROR == result.ret
    result.stderr.fnmatch_lines([f"ERROR: inferena: {message}"])
