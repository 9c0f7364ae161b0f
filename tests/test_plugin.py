"""What a user sees when all goes well, or when an engine is only nearly right."""

from __future__ import annotations

import json
import shlex
import sys
from typing import TYPE_CHECKING

import pytest

from pytest_inferena.cell import METRICS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.projects import Project

IDS = [f"test_{metric}.py::test_{metric}[mlp-fake-numeric]" for metric in METRICS]
SPY = '''\
"""Says which heavy modules this process imported."""
import sys

HEAVY = {"torch", "jax", "transformers", "numpy", "safetensors", "pytest_inferena.session.bench"}


def pytest_unconfigure():
    print(f"heavy: {sorted(HEAVY & {*sys.modules})}")
'''
ISSUE = """
[[known_issues]]
metric = "latency"
reason = "one row is scaled twice"
link = "https://example.org/issues/7"
"""


def test_all_cells_pass_and_are_shown(project: Project) -> None:
    """A run measures each cell, prints the table with its figures, and exits with 0."""
    result = project.run("-v")

    result.assert_outcomes(passed=4)
    assert 0 == result.ret
    result.stdout.fnmatch_lines(["*= inferena =*", "Tiny MLP", "Framework * Compile * Training *", "Fake Engine * ±*"])
    result.stdout.fnmatch_lines(["journal: .inferena/*.jsonl", "*'mlp training*': 1 tests*"])


def test_journal_has_every_cell(project: Project) -> None:
    """The journal holds a header and a complete record a cell, in the order in which they ran."""
    project.run("-q")
    head, *lines = project.journals()[0].read_text().splitlines()
    records = [json.loads(line) for line in lines]

    assert 2 == json.loads(head)["schema"]
    assert list(METRICS) == [record["metric"] for record in records]
    assert {"pass"} == {record["outcome"] for record in records}
    assert {"numpy"} == {name for record in records for name in record["versions"]}
    assert all(record["ran"].startswith("NumPy ") and record["threads"] == 1 for record in records)
    assert all(record["median"] > 0 and record["verdict"]["tensors"] >= 1 for record in records)
    assert 7 == records[-1]["verdict"]["tensors"]


def test_ids_and_order(project: Project) -> None:
    """Ids name model, framework and backend; compile comes first, whatever the order on the command line."""
    files = [f"test_{metric}.py" for metric in reversed(METRICS)]
    result = project.run("--collect-only", "-q", *files)

    assert IDS == [line for line in result.outlines if "::" in line]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("-k", "mlp and not compile"), IDS[1:]),
        (("-k", "other"), []),
        (("-m", "fake and training"), IDS[3:]),
        (("-m", "cpu and (latency or compile)"), [IDS[0], IDS[2]]),
        (("-m", "not fake"), []),
        ((IDS[1],), [IDS[1]]),
    ],
)
def test_selection_on_the_command_line(project: Project, arguments: tuple[str, ...], expected: list[str]) -> None:
    """Models are chosen by -k, everything by -m, one cell by its id."""
    result = project.run("--collect-only", "-q", *arguments)

    assert expected == [line for line in result.outlines if "::" in line]
    assert (pytest.ExitCode.OK if expected else pytest.ExitCode.NO_TESTS_COLLECTED) == result.ret


def test_markers_are_listed(project: Project) -> None:
    """`pytest --markers` explains the markers of metrics, models, frameworks, backends, devices and languages."""
    lines = project.run("--markers").outlines

    assert "@pytest.mark.training: cells of the metric training" in lines
    assert "@pytest.mark.mlp: cells of the model Tiny MLP" in lines
    assert "@pytest.mark.fake: cells of the framework Fake Engine" in lines
    assert "@pytest.mark.numeric: cells of the backend numeric" in lines
    assert "@pytest.mark.cpu: cells on the device cpu" in lines
    assert "@pytest.mark.python: frameworks called from python" in lines


@pytest.mark.parametrize("arguments", [("--collect-only", "-q"), ("--help",), ("--markers",)])
def test_nothing_heavy_without_a_cell_to_run(project: Project, arguments: tuple[str, ...]) -> None:
    """What only asks imports neither a framework nor NumPy."""
    project.write("spy.py", SPY)
    result = project.run("-p", "spy", *arguments)

    assert 0 == result.ret
    assert "heavy: []" in result.outlines


def test_no_framework_in_the_parent(project: Project) -> None:
    """A run that measures and judges imports NumPy at most."""
    project.write("spy.py", SPY)
    result = project.run("-p", "spy", "-q", "-m", "latency")

    assert "heavy: ['numpy', 'pytest_inferena.session.bench']" in result.outlines


def test_close_passes_in_its_own_word(project: Project) -> None:
    """CLOSE has its word, its yellow, its letter and its count, and exits with 0."""
    project.fault(result="close", entry="latency")
    wordy, short = project.run("-v", "--color=yes", "--code-highlight=no"), project.run("test_latency.py")

    assert 0 == wordy.ret
    assert any("\x1b[33mCLOSE\x1b[0m" in line and "test_latency.py" in line for line in wordy.outlines)
    assert "3 passed" in wordy.outlines[-1]
    assert "1 close" in wordy.outlines[-1]
    short.stdout.fnmatch_lines(["test_latency.py c *", "Fake Engine *≈*", "*= 1 close in *"])
    assert {"latency": "close"} == project.outcomes()


def test_fail_is_explained(project: Project) -> None:
    """A failing cell's assertion names the tensor, the figures and the command that repeats the cell."""
    project.fault(result="wrong", entry="training")
    result = project.run()

    assert 1 == result.ret
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(
        [
            "E *assert mlp-fake-numeric-training FAIL: loss has NRMSE 1.0e-01, limit 1.0e-05, *; 7 of 7 tensors miss*",
            "E *loss: NRMSE 0.1, limit 1e-05",
            "E *again: pytest 'test_training.py::test_training[[]mlp-fake-numeric[]]' --inferena-threads=1",
            "E *where: inferena explain mlp-fake-numeric-training",
        ]
    )
    assert "fail" == project.outcomes()["training"]


def test_command_repeats_the_cell(project: Project) -> None:
    """The command in a record runs that one cell."""
    project.run("-m", "latency")
    command = shlex.split(project.records()["latency"]["command"])

    assert "pytest" == command[0]
    project.run(*command[1:]).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("shape", r"output has shape \[1, 16\] instead of \[4, 4\]"),
        ("float64", "output is float64 instead of float32"),
        ("float16", "output is float16 instead of float32"),
        ("nan", r"output has nan at \[0, 0\]"),
        ("zeros", r"output has NRMSE 1.0e\+00, limit 1.0e-05"),
        ("missing", "output is missing"),
        ("extra", "surplus is not a tensor of this entry"),
    ],
)
def test_wrong_results_fail(project: Project, kind: str, message: str) -> None:
    """Whatever is wrong with a result, the cell fails and says what, and the others pass."""
    project.fault(result=kind, entry="inference")
    result = project.run("-m", "inference or latency")

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.re_match_lines([f"E .*FAIL: {message}.*"])
    assert {"inference": "fail", "latency": "pass"} == project.outcomes()


def test_missing_engine_is_skipped(project: Project) -> None:
    """Cells of an engine that is not installed skip, with the command that installs it."""
    toml = (project.folder / "adapter.toml").read_text().replace('["numpy"]', '["numpy", "no-such-engine"]')
    project.write("fake/adapter.toml", toml)
    result = project.run("-rs", "-m", "latency")

    assert 0 == result.ret
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED * no-such-engine not installed: inferena setup fake"])
    assert {"latency": "not_installed"} == project.outcomes()


def test_engine_of_another_version_is_skipped(project: Project) -> None:
    """Cells of an engine of a version that nobody tested skip, with both versions and the remedy."""
    toml = (project.folder / "adapter.toml").read_text().replace('["numpy"]', '["numpy<1"]')
    project.write("fake/adapter.toml", toml)
    result = project.run("-rs", "-m", "latency")

    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED * numpy * is installed, <1 was tested: inferena setup fake"])
    assert {"latency": "not_installed"} == project.outcomes()


def test_interpreter_of_its_own(project: Project) -> None:
    """A worker runs in the interpreter that is named, and its versions are asked of that one."""
    other = project.path / "python"
    other.write_text(f'#!/bin/sh\nINFERENA_OTHER=1 exec {sys.executable} "$@"\n')
    other.chmod(0o755)
    project.append("fake/adapter.py", "\nimport os\n\nassert os.environ['INFERENA_OTHER'] == '1'\n")
    project.run("-m", "latency", f"--inferena-python=fake={other}")

    assert {"latency": "pass"} == project.outcomes()
    assert {"numpy"} == {*project.records()["latency"]["versions"]}


def test_metric_that_an_engine_lacks_is_skipped(project: Project) -> None:
    """An absent metric skips with the engine's own reason; nothing is prepared for it."""
    project.append("fake/adapter.toml", '[[absent]]\nmetric = "latency"\nreason = "it only takes batches"\n')
    project.append("fake/adapter.py", "\nprint('talk', file=sys.stderr)\n")
    result = project.run("-rs", "-m", "latency or inference")

    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED * it only takes batches"])
    assert "unsupported" == project.outcomes()["latency"]
    assert not project.records()["latency"]["log"]  # the worker's words are of the cell before


def test_engine_that_does_not_train(project: Project) -> None:
    """`training = "none"` makes the training cell a skip with its reason."""
    toml = (project.folder / "adapter.toml").read_text()
    project.write("fake/adapter.toml", 'training = "none"\n' + toml)
    result = project.run("-rs", "-m", "training")

    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED * Fake Engine does not train"])


def test_known_issue_is_expected(project: Project) -> None:
    """An upstream bug that is declared is an xfail with its link, while the record keeps the outcome."""
    project.append("fake/adapter.toml", ISSUE)
    project.fault(result="wrong", entry="latency")
    result = project.run("-rx")

    assert 0 == result.ret
    result.assert_outcomes(passed=3, xfailed=1)
    result.stdout.fnmatch_lines(["XFAIL * one row is scaled twice (https://example.org/issues/7)*"])
    assert "fail" == project.outcomes()["latency"]


def test_known_issue_that_is_mended(project: Project) -> None:
    """When the bug is gone the strict xfail fails, so that the declaration is removed."""
    project.append("fake/adapter.toml", ISSUE)
    result = project.run("-m", "latency")

    assert 1 == result.ret
    result.stdout.fnmatch_lines(["[[]XPASS(strict)[]] one row is scaled twice*"])


def test_known_issue_of_other_versions(project: Project) -> None:
    """A bug of versions that are not installed is expected of nobody."""
    project.append("fake/adapter.toml", ISSUE + 'versions = "<1"\n')

    project.run("-m", "latency").assert_outcomes(passed=1)


def test_tests_of_a_user_stay_where_they_are(project: Project) -> None:
    """Tests that are no cells keep their order and their outcome beside the cells."""
    project.write("test_own.py", "def test_one(): pass\n\n\ndef test_two(): assert False\n")
    result = project.run("-v", "-m", "not cpu or latency")

    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*test_latency*PASSED*", "*test_own.py::test_one PASSED*", "*test_two FAILED*"])


def test_a_project_without_models_is_left_alone(pytester: pytest.Pytester) -> None:
    """Where nothing is registered, pytest is as it was: no markers, no journal, no table."""
    pytester.makepyfile("def test_own(): pass")
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")

    result.assert_outcomes(passed=1)
    assert not any("inferena" in line for line in result.outlines if not line.startswith("plugins:"))
    assert not (pytester.path / ".inferena").exists()


def test_report_files(project: Project, tmp_path: Path) -> None:
    """--inferena-report writes each file that is asked for, beside the terminal's table."""
    project.run("-m", "latency", f"--inferena-report=md:{tmp_path}/r.md", f"--inferena-report=json:{tmp_path}/r.json")
    records = json.loads((tmp_path / "r.json").read_text())["records"]

    assert ["latency"] == [record["metric"] for record in records]
    assert "Tiny MLP" in (tmp_path / "r.md").read_text()
