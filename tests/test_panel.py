from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests import panel
from tests.in_ci import long

from pytest_inferena.cell import Outcome
from pytest_inferena.collect import registry
from pytest_inferena.collect.source import Source
from pytest_inferena.prepare.sources import load_case
from pytest_inferena.results import read

ROOT = Path(__file__).parents[1]
TINY = ("text_distilbert", "torch_nn_group_norm")
"""Rows that run here."""


def test_rows_are_many_and_distinct() -> None:
    """No two rows make the same model, and together they are a panel."""
    made = {repr(row) for table in panel.TABLES for row in panel.rows(table).values()}

    assert len(panel.pytest_inferena_models()) == len(made)
    assert len(made) >= 120


def test_rows_are_registered() -> None:
    """Their names are valid, those of no engine, backend or device, and each names what the preparer finds."""
    sources = [Source.parse(text, None) for text in panel.pytest_inferena_models()]
    known = registry.read(sources, panel.pytest_inferena_adapters())

    assert len(sources) == len(known.models)
    for source in sources:
        table, _, row = source.place.partition(":")
        assert callable(panel.rows(table.rpartition(".")[2])[row])


def test_each_is_in_the_library() -> None:
    """The classes of transformers, and the layers of torch.nn, are there under the names of the rows."""
    import torch
    import transformers

    named = [row.args[:2] for table in panel.TABLES for row in panel.rows(table).values()]
    classes = {name for maker, name in named if maker == "transformers"}
    kinds = {layer[0] for maker, described in named if maker == "layers" for layer in described}

    assert set() == classes - {*dir(transformers)}
    assert set() == kinds - {*dir(torch.nn)}


@pytest.mark.parametrize(
    ("library", "row", "inputs"),
    [
        ("timm", "resnet", ["x"]),
        ("torchvision", "vit", ["x"]),
        ("diffusers", "unet2d", ["sample", "timestep"]),
    ],
)
def test_rows_of_optional_libraries(library: str, row: str, inputs: list[str]) -> None:
    """They are made with their inputs, and run."""
    pytest.importorskip(library, reason="an optional library")
    case = load_case(Source.parse(f"tests.panel.{library}:{row}", None), "full")

    assert inputs == [*case.inputs]
    assert case.targets["target"]


@long
def test_some_run(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command of `make panel`, with two rows, on PyTorch eager and JAX: both metrics PASS."""
    monkeypatch.setenv("INFERENA_CACHE", str(cache))
    monkeypatch.setenv("INFERENA_LOCKS", str(tmp_path))
    made = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\npanel:")[2].partition("\n\n")[0]
    options = re.findall(r"benchmarks/\S+|-p \S+|--(?:noconftest|benchmark-disable|inferena-weights=\S+)", made)
    journal = tmp_path / "panel.jsonl"
    subprocess.run(
        [sys.executable, "-m", "pytest", *" ".join(options).split(), "-m", "cpu and (eager or jax)", "-k",
         " or ".join(f"{name}-" for name in TINY), f"--inferena-results={journal}", "--inferena-threads=1"],
        cwd=ROOT, check=True,
    )  # fmt: skip
    found = read(journal).records

    assert len(TINY) * 2 * 2 == len(found)
    assert {Outcome.PASS} == {record.outcome for record in found}
