"""A cell of another dtype, batch, sequence or kind of inputs is another cell: by id, by key, in tables, in comparisons.

The registry is made to give a dtype too, which nothing prepares yet. The model makes nothing of a length.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pytest_inferena import results
from pytest_inferena.cell import Cell
from pytest_inferena.commands import cli

if TYPE_CHECKING:
    from pathlib import Path

    from tests.projects import Project

CONFTEST = """

from dataclasses import replace
from functools import cached_property

from pytest_inferena.collect.registry import Registry

_usual = Registry.targets.func
_DIMENSIONS = ({}, {"batch": 4}, {"seq": 16}, {"inputs": "smooth"}, {"batch": 4, "dtype": "bfloat16"})


def _with_dimensions(self):
    return tuple(replace(target, **dimension) for target in _usual(self) for dimension in _DIMENSIONS)


Registry.targets = cached_property(_with_dimensions)
Registry.targets.__set_name__(Registry, "targets")
"""
IDS = ["mlp-fake-numeric", *(f"mlp-fake-numeric-{end}" for end in ("batch4", "seq16", "smooth", "batch4-bfloat16"))]
TITLES = ["Tiny MLP", *(f"Tiny MLP, {end}" for end in ("smooth inputs", "seq 16", "batch 4", "bfloat16, batch 4"))]


@pytest.fixture
def dimensions(project: Project) -> Project:
    """A project whose model runs in five ways."""
    project.append("conftest.py", CONFTEST)
    return project


def test_each_has_its_id_key_and_record(dimensions: Project) -> None:
    """Its test and command are named after it, the journal tells it apart; a dtype without limits is refused."""
    dimensions.run("-m", "inference")
    found = results.read(dimensions.journals()[-1]).records
    alone = [f"pytest 'test_inference.py::test_inference[{name}]' --inferena-threads=1" for name in IDS]

    assert IDS == [record.id for record in found]
    assert [
        (None, None, "noise", "float32"),
        (4, None, "noise", "float32"),
        (None, 16, "noise", "float32"),
        (None, None, "smooth", "float32"),
        (4, None, "noise", "bfloat16"),
    ] == [(record.batch, record.seq, record.inputs, record.dtype) for record in found]
    assert len(IDS) == len({record.key for record in found})
    assert alone == [record.command for record in found]
    assert ["pass"] * 4 + ["error"] == [record.outcome for record in found]
    assert "The gate is not calibrated for bfloat16" in found[-1].reason


def test_each_is_selected_and_resumed_alone(dimensions: Project) -> None:
    """Its id is enough to run it, and a journal that has it is taken over for it and for no other."""
    test = f"test_inference.py::test_inference[{IDS[1]}]"
    dimensions.run(test).assert_outcomes(passed=1)
    dimensions.run("-m", "inference", "--inferena-resume").assert_outcomes(passed=4, failed=1)
    lines = [json.loads(line) for line in dimensions.journals()[-1].read_text().splitlines()[1:]]

    assert [4, None, None, None, 4] == [line["batch"] for line in lines]


@pytest.mark.parametrize("format", ["md", "html", "coverage"])
def test_each_has_its_place_in_a_report(dimensions: Project, format: str) -> None:  # noqa: A002
    """Figures of different work never share a table or a column."""
    dimensions.run("-m", "inference", f"--inferena-report={format}:report")
    page = (dimensions.path / "report").read_text(encoding="utf-8")
    shown = {"md": "## {}\n", "html": '"title":"{}"', "coverage": "| {} "}[format]

    assert [1] * len(TITLES) == [page.count(shown.format(title)) for title in TITLES]


def test_each_is_compared_with_itself(dimensions: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`inferena compare` finds the one that became slower, and says which it is."""
    dimensions.run("-m", "inference", "--inferena-results=old.jsonl")
    dimensions.fault(sleep=0.02)
    slower = f"test_inference.py::test_inference[{IDS[2]}]"
    dimensions.run(slower, "--inferena-results=slow.jsonl")
    old, slow = (results.read(dimensions.path / name) for name in ("old.jsonl", "slow.jsonl"))
    mixed = [*(record for record in old.records if record.id != IDS[2]), *slow.records]
    with results.Journal(tmp_path / "new.jsonl", slow.run) as journal:
        for record in mixed:
            journal.append(record)
    capsys.readouterr()  # what the runs said
    code = cli.main(["compare", str(dimensions.path / "old.jsonl"), str(tmp_path / "new.jsonl"), "--json"])
    changes = {change["cell"]: change["kind"] for change in json.loads(capsys.readouterr().out)}

    assert 1 == code
    assert changes == {f"{title}, Fake Engine, inference": "same" for title in TITLES} | {
        "Tiny MLP, seq 16, Fake Engine, inference": "slower"
    }


def test_the_id_names_what_is_not_usual() -> None:
    """The device is told where it is not in the backend's name, then batch, sequence, inputs and dtype."""
    usual = Cell(model="m", framework="f", backend="b", device="cpu", metric="training", threads=1)
    fields = {"model": "m", "framework": "f", "backend": "b", "metric": "training", "threads": 2, "size": "tiny"}
    other = Cell(**fields, device="cuda", dtype="bfloat16", batch=4, seq=16, inputs="smooth")  # type: ignore[arg-type]

    assert ("m-f-b", "m-f-b-cuda-batch4-seq16-smooth-bfloat16") == (usual.id, other.id)
    assert "m-f-b-training" == str(usual)
