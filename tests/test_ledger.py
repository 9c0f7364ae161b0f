"""pytest-benchmark: its files hold our samples, its options govern our loop, its comparisons compare our cells."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from tests.records import make_record

from pytest_inferena.cell import METRICS
from pytest_inferena.session.ledger import hand_over

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
        assert records[metric]["samples"] == [written[metric]["stats"]["data"]]
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


def test_enable_overrides_disable(project: Project) -> None:
    """--benchmark-enable undoes a --benchmark-disable of the ini file, as it does for other benchmarks."""
    project.append("pytest.ini", "addopts = --benchmark-disable\n")
    project.run("-m", "latency", "--benchmark-enable")

    assert project.records()["latency"]["samples"]


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

    assert [123] == [*map(len, record["samples"])]
    assert 0 == record["extra"]["warmups"]


def test_max_time_reaches_the_loop(project: Project) -> None:
    """--benchmark-max-time ends a loop that has its rounds; without --benchmark-warmup=off there is a warm-up."""
    project.fault(sleep=0.05)
    project.run("-m", "latency", "--benchmark-min-rounds=2", "--benchmark-max-time=0.001", fast=False)
    record = project.records()["latency"]

    assert [2] == [*map(len, record["samples"])]
    assert record["extra"]["warmups"] >= 3


def test_precision_reaches_the_loop(project: Project) -> None:
    """--benchmark-precision is the precision of the median; what the loop was asked for stands in both files."""
    project.run("-m", "latency", "--benchmark-precision=0.2", "--benchmark-json=out.json")
    record, written = project.records()["latency"], benchmarks(project.path / "out.json")["latency"]

    assert 0.2 == record["extra"]["loop"]["precision"]
    assert record["extra"]["loop"].items() <= written["options"].items()
    assert record["extra"]["steps_per_sample"] == written["stats"]["iterations"]
    assert len(record["samples"][0]) == written["stats"]["rounds"]


@pytest.mark.parametrize(
    "option",
    ["timer=time.time", "disable-gc", "cprofile=tottime", "min-time=1", "calibration-precision=5",
     "warmup-iterations=7", "confidence=0.9"],
)  # fmt: skip
def test_what_an_option_cannot_do_is_said(project: Project, option: str) -> None:
    """An option of pytest-benchmark that does not count for cells is one line that says why."""
    result = project.run("-m", "latency", f"--benchmark-{option}")
    name = option.partition("=")[0]

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"inferena: --benchmark-{name} does not count for cells: *"])


def test_tiny_and_full_are_different_things(project: Project) -> None:
    """Neither --benchmark-compare nor `pytest-benchmark compare` takes a tiny run for a full one."""
    sizes, found = ("full", "tiny"), {}
    options = ["--benchmark-autosave"]
    for size in sizes:
        result = project.run("-m", "latency", f"--inferena-size={size}", f"--benchmark-json={size}.json", *options)
        found[size] = benchmarks(project.path / f"{size}.json")["latency"]
        options = ["--benchmark-compare"]
    command = [sys.executable, "-m", "pytest_benchmark", "compare", "full.json", "tiny.json"]
    compared = subprocess.run(command, cwd=project.path, check=True, capture_output=True, text=True).stdout

    assert not any("(NOW)" in line for line in result.outlines)
    assert list(sizes) == [found[size]["params"]["size"] for size in sizes]
    for name in ("name", "fullname", "group"):
        assert found["full"][name] != found["tiny"][name]
    assert 2 == len(re.findall(r"^-+ benchmark 'mlp latency.*': 1 tests -+$", compared, re.MULTILINE))


MARKED = """
import pytest


@pytest.mark.latency
@pytest.mark.benchmark(group="mine", min_rounds=7, disable_gc=True)
def test_marked(cell, benchmark):
    benchmark.extra_info["colour"] = "red"
    result = cell.measure()
    assert result == cell.golden
    cell.record(result)
"""


@pytest.mark.parametrize("more", [[], ["-n", "1"]])
def test_a_marker_counts(project: Project, more: list[str]) -> None:
    """Group, rounds and extra_info of an own test are kept, under xdist too; what does not count is said."""
    project.write("test_marked.py", MARKED)
    result = project.run("test_marked.py", "--benchmark-json=out.json", *more)
    written = benchmarks(project.path / "out.json")["latency"]

    assert ("mine", 7) == (written["group"], written["options"]["min_rounds"])
    assert "red" == written["extra_info"]["colour"]
    result.stdout.fnmatch_lines(["inferena: disable_gc does not count for cells: *"])


BOTH = """
import pytest


@pytest.mark.latency
def test_both(cell, benchmark):
    result = cell.measure()
    assert result == cell.golden
    benchmark(sum, [1, 2])
    {record}
"""


def test_a_cells_test_may_call_benchmark(project: Project) -> None:
    """`benchmark(…)` in it times its function by pytest-benchmark's clock; a second result of one name is refused."""
    project.write("test_both.py", BOTH.format(record=""))
    project.run("test_both.py", "--benchmark-json=out.json").assert_outcomes(passed=1)
    (written,) = json.loads((project.path / "out.json").read_text())["benchmarks"]
    project.write("test_both.py", BOTH.format(record="cell.record(result)"))
    result = project.run("test_both.py")

    assert "perf_counter" in written["options"]["timer"]
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["this test has called benchmark() itself, *"])


CODSPEED = """

from types import SimpleNamespace


def pytest_configure(config):
    config.pluginmanager.register(SimpleNamespace(is_codspeed_enabled=True), "codspeed_plugin")
"""


def test_codspeed_leaves_cells_out(project: Project) -> None:
    """pytest-codspeed measures in pytest's process, where no cell runs: cells are deselected, and a line says so."""
    project.append("conftest.py", CODSPEED)
    project.write("test_own.py", "def test_own(): pass\n")
    result = project.run()

    result.assert_outcomes(passed=1, deselected=4)
    result.stdout.fnmatch_lines(["inferena: --codspeed measures pytest's own process, *"])


def test_what_no_file_can_hold_fails_its_test() -> None:
    """An infinity among a test's own figures is that test's failure, and no end of the run."""
    benchmark = SimpleNamespace(stats=None, group=None, extra_info={"speed": float("inf")})

    with pytest.raises(pytest.fail.Exception, match=r"extra_info\.speed: is inf"):
        hand_over(make_record(), benchmark)
