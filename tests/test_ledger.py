"""pytest-benchmark: its files hold our samples, its options govern our loop, its comparisons compare our cells."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_inferena.cell import METRICS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.projects import Project


def benchmarks(file: Path) -> dict[str, dict[str, Any]]:
    """What pytest-benchmark's JSON file holds, by metric."""
    document = json.loads(file.read_text())
    return {benchmark["params"]["metric"]: benchmark for benchmark in document["benchmarks"]}


def test_json_holds_the_samples(project: Project) -> None:
    """The samples are the journal's, bit for bit, and the verdict rides along."""
    project.run("--benchmark-json=out.json").assert_outcomes(passed=4)
    written, records = benchmarks(project.path / "out.json"), project.records()

    assert list(METRICS) == list(written)
    for metric in METRICS:
        assert records[metric]["samples"] == written[metric]["stats"]["data"]
        assert records[metric]["median"] == written[metric]["stats"]["median"]
        assert written[metric]["group"].startswith(f"mlp {metric}")
        assert "pass" == written[metric]["extra_info"]["outcome"]
        assert records[metric]["hashes"] == written[metric]["extra_info"]["hashes"]


@pytest.mark.parametrize("fault", [{"result": "wrong"}, {"phase": "measure", "action": "signal"}, {"lacks": "tanh"}])
def test_json_has_no_cell_that_did_not_pass(project: Project, fault: dict[str, str]) -> None:
    """A wrong, broken or unsupported cell never gets among pytest-benchmark's results."""
    project.fault(**fault, entry="latency")
    project.run("--benchmark-json=out.json")

    assert ["compile", "inference", "training"] == list(benchmarks(project.path / "out.json"))


def test_close_is_told(project: Project) -> None:
    """A CLOSE cell is among the results, and its outcome says so."""
    project.fault(result="close", entry="latency")
    project.run("--benchmark-json=out.json", "-m", "latency")

    assert "close" == benchmarks(project.path / "out.json")["latency"]["extra_info"]["outcome"]


def test_compare_fail(project: Project) -> None:
    """--benchmark-autosave, --benchmark-compare and --benchmark-compare-fail find an engine that became slower."""
    project.fault(sleep=0.002)
    project.run("-m", "latency", "--benchmark-autosave").assert_outcomes(passed=1)
    same = project.run("-m", "latency", "--benchmark-compare", "--benchmark-compare-fail=median:100%")
    project.fault(sleep=0.02)
    slower = project.run("-m", "latency", "--benchmark-compare", "--benchmark-compare-fail=median:100%")

    assert 0 == same.ret
    assert 1 == slower.ret
    slower.stderr.fnmatch_lines(["*Performance has regressed*"])


def test_only_and_skip(project: Project) -> None:
    """--benchmark-only runs cells and nothing else, --benchmark-skip the reverse."""
    project.write("test_own.py", "def test_own(): pass\n")

    project.run("--benchmark-only").assert_outcomes(passed=4, skipped=1)
    project.run("--benchmark-skip").assert_outcomes(passed=1, skipped=4)


def test_disable(project: Project) -> None:
    """--benchmark-disable judges each cell on one step and records no figure."""
    project.fault(result="wrong", entry="latency")
    result = project.run("--benchmark-disable", "-W", "error", fast=False)
    records = project.records()

    result.assert_outcomes(passed=3, failed=1)
    assert "fail" == records["latency"]["outcome"]
    assert [(None, [])] * 4 == [(records[metric]["median"], records[metric]["samples"]) for metric in METRICS]
    assert all(records[metric]["verdict"]["tensors"] for metric in METRICS)


def test_disable_runs_a_step_once(project: Project) -> None:
    """--benchmark-disable runs one step to compile and one to judge; neither warm-up nor batches."""
    project.append(
        "fake/adapter.py",
        "\n_call = Step.__call__\n\n\ndef counted(self):\n    _call(self)\n"
        "    (HERE / self.entry.name).write_text(str(self.runs))\n\n\nStep.__call__ = counted\n",
    )
    project.run("--benchmark-disable", "-m", "latency", fast=False)

    assert "2" == (project.folder / "latency").read_text()


@pytest.mark.parametrize("way", ["command line", "ini file", "environment"])
def test_min_rounds_reaches_the_loop(project: Project, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """--benchmark-min-rounds is the least number of samples, wherever it is given."""
    options = ["--benchmark-min-rounds=123", "--benchmark-max-time=0.01", "--benchmark-warmup=off"]
    if way == "ini file":
        project.append("pytest.ini", f"addopts = {' '.join(options)}\n")
    elif way == "environment":
        monkeypatch.setenv("PYTEST_ADDOPTS", " ".join(options))
    project.run("-m", "latency", *(options if way == "command line" else ()), fast=False)
    record = project.records()["latency"]

    assert 123 == len(record["samples"])
    assert 0 == record["extra"]["warmups"]


def test_max_time_reaches_the_loop(project: Project) -> None:
    """--benchmark-max-time ends a loop that has its rounds; without --benchmark-warmup=off there is a warm-up."""
    project.fault(sleep=0.05)
    project.run("-m", "latency", "--benchmark-min-rounds=2", "--benchmark-max-time=0.001", fast=False)
    record = project.records()["latency"]

    assert 2 == len(record["samples"])
    assert record["extra"]["warmups"] >= 3
