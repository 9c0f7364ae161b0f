"""Tests of `inferena import`: published tables become external platforms that are marked and never win."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_inferena.collect.model import Model
from pytest_inferena.collect.source import Source
from pytest_inferena.commands import cli
from pytest_inferena.commands.arena import read_arena
from pytest_inferena.report import html, render
from pytest_inferena.results import ResultsError, read_all

if TYPE_CHECKING:
    from pathlib import Path

OURS = Model("resnet50", "Our ResNet", Source("file", "resnet50.py", "resnet50"), "image", 4, 1000, arena="ResNet-50")


def row(**changes: Any) -> dict[str, Any]:
    """A row of the published tables."""
    fields = {"model": "ResNet-50", "platform": "Acme G1", "framework": "ONNX Runtime", "version": "1.2",
              "revision": None, "backend": "CUDA", "status": "matching", "compile_s": 0.5, "inference_ms": 12.0,
              "latency_ms": 3.0, "training_ms": None, "loss": 7.0}  # fmt: skip
    return fields | changes


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Two platforms, with rows that matched, differed, failed and are not supported."""
    rows = [row(), row(framework="Burn", status="different"), row(framework="JAX", status="failed", inference_ms=None),
            row(platform="Acme Xeon", framework="llama.cpp", status="unsupported", inference_ms=None)]  # fmt: skip
    path = tmp_path / "arena.json"
    path.write_text(json.dumps({"source": "Inference Arena, revision abc123, 2026-07-21", "rows": rows}))
    return path


def test_rows_become_cells(file: Path) -> None:
    """A run for each platform, times in seconds, what the original calls different as FAIL."""
    first, second = read_arena(file, [OURS])
    cells = {(record.framework, record.metric): record for record in first.records}
    published = cells["onnxruntime", "inference"]

    assert ("abc123", "2026-07-21T00:00:00Z") == (first.run.commit, first.run.date)
    assert (0.012, "published") == (published.median, published.outcome)
    assert ("onnxruntime", "training") not in cells
    assert ("fail", "error") == (cells["burn", "inference"].outcome, cells["jax", "latency"].outcome)
    assert {"unsupported"} == {record.outcome for record in second.records}
    assert "Our ResNet" == first.run.titles.models["resnet50"]
    assert "resnet_50" == read_arena(file, [])[0].records[0].model, "a model that is none of ours keeps its name"
    assert ("gpu", "cpu") == (first.records[0].device, second.records[0].device)


def test_a_published_figure_is_marked_and_never_best(file: Path) -> None:
    """It shows with its mark, and is neither bold nor right."""
    first, _ = read_arena(file, [])
    page = html.document([first])["tabs"][0]["rows"][0]["cells"]["inference"]
    text = render(first, "md").split("## Legend")[0]

    assert ("12.0°", False, False) == (page["text"], page["right"], page["competes"])
    assert "**" not in text
    assert "PUBLISHED: published by Inference Arena; nothing of it was verified here" in text


def test_the_command_writes_a_file_that_can_be_reported(file: Path, tmp_path: Path) -> None:
    """What it writes is read like merged results."""
    assert 0 == cli.main(["import", str(file), "-o", str(tmp_path / "external.json")])
    assert 2 == len(read_all(tmp_path / "external.json"))


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"source": "x", "rows": [{"platform": "a"}]}', '{"source": "x", "rows": [{}]}']
)
def test_another_file_is_refused(text: str, tmp_path: Path) -> None:
    """One line names the file."""
    (tmp_path / "other.json").write_text(text)

    with pytest.raises(ResultsError, match=r"other\.json: holds no published tables"):
        read_arena(tmp_path / "other.json", [])
