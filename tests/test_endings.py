"""Ways a cell's test can end that are not the engine's: other plugins, own tests, hooks and processes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pytest_inferena.cell import METRICS

if TYPE_CHECKING:
    from tests.projects import Project

CRASH_ONCE = """

if not (HERE / "crashed").exists():
    (HERE / "crashed").touch()
    os._exit(3)
"""


def test_rerun(project: Project) -> None:
    """With pytest-rerunfailures the last attempt counts everywhere, and table and journal tell that there were two."""
    project.append("fake/adapter.py", CRASH_ONCE)
    result = project.run("-m", "latency", "--reruns=1", "--benchmark-json=out.json")
    record = project.records()["latency"]

    assert {"passed": 1, "rerun": 1, "deselected": 3} == result.parseoutcomes()
    assert ("pass", ["crash", "pass"]) == (record["outcome"], record["attempts"])
    result.stdout.fnmatch_lines(
        ["[[]1[]] Fake Engine, latency: 2 attempts: CRASH, PASS", "Verdict: 1 of 1 cells PASS*"]
    )
    assert 1 == len(json.loads((project.path / "out.json").read_text())["benchmarks"])


def test_timeout_of_another_plugin(project: Project) -> None:
    """What pytest-timeout ends is a TIMEOUT that names the request; the next cell gets a worker of its own."""
    project.fault("measure", "hang", entry="latency")
    result = project.run("-m", "latency or training", "--timeout=5")
    record = project.records()["latency"]

    result.assert_outcomes(passed=1, failed=1)
    assert {"latency": "timeout", "training": "pass"} == project.outcomes()
    assert (
        "Timeout (>5.0s) from pytest-timeout, while the worker was busy with measure; it was ended" == record["reason"]
    )
    assert record["hashes"]


NODES = """

def pytest_runtest_logreport(report):
    if report.when == "call" and hasattr(report, "node"):
        with open("nodes", "a") as file:
            print(report.node.gateway.id, file=file)
"""


def test_repeated(project: Project) -> None:
    """With pytest-repeat under xdist a target's cells stay in one process, and each cell tells of both times."""
    project.append("conftest.py", NODES)
    result = project.run("--count=2", "-n", "2")

    result.assert_outcomes(passed=8)
    assert 1 == len({*(project.path / "nodes").read_text().split()})
    assert [["pass", "pass"]] * 4 == [project.records()[metric]["attempts"] for metric in METRICS]


OWN = """
import os
import pytest

pytestmark = pytest.mark.latency


def test_fast_enough(cell):
    result = cell.measure()
    assert result == cell.golden
    cell.record(result)
    {end}


def test_right(cell):
    assert cell.measure() == cell.golden
"""


@pytest.mark.parametrize(
    ("end", "outcome", "reason"),
    [
        ("assert result.record.median < 1e-9", "error", "measured, but its test failed: assert *"),
        ("pytest.skip('too warm today')", "pass", ""),
        ("pytest.xfail('as ever')", "error", "measured, but its test failed: as ever"),
    ],
)
def test_two_tests_of_a_cell(project: Project, end: str, outcome: str, reason: str) -> None:
    """The worse of two tests counts for their cell; an own assertion that fails is told beside the figure."""
    project.write("test_own.py", OWN.format(end=end))
    project.run("test_own.py", "--benchmark-json=out.json")
    record = project.records()["latency"]

    assert outcome == record["outcome"]
    pytest.LineMatcher([record["reason"]]).fnmatch_lines([reason])
    assert record["median"]
    assert not (project.path / "out.json").exists()


def test_passing_without_a_look(project: Project) -> None:
    """A test that never compares with golden fails where its cell does: else pytest would count a wrong figure."""
    project.write("test_own.py", "import pytest\n\n\n@pytest.mark.latency\ndef test_blind(cell):\n    cell.measure()\n")
    project.fault(result="wrong")
    result = project.run("test_own.py")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["the test passes, but not its cell: fail: output has NRMSE *"])


def test_own_test_ends_its_process(project: Project) -> None:
    """Under xdist an own test whose process dies is a crash of its cell, whatever the test's name is."""
    project.write("test_own.py", OWN.format(end="os._exit(9)"))
    result = project.run("test_own.py", "-n", "1")

    result.assert_outcomes(passed=1, failed=1)
    record = project.records()["latency"]
    assert "crash" == record["outcome"]
    assert "test_fast_enough" in record["command"]
    assert record["started"]


def test_a_mended_issue_is_no_plain_pass(project: Project) -> None:
    """A cell that is right though an issue is declared keeps its figure, and a note says why its test fails."""
    issue = '[[known_issues]]\nmetric = "latency"\nreason = "scaled"\nlink = "https://example.org/7"\n'
    project.append("fake/adapter.toml", issue)
    result = project.run("-m", "latency")
    record = project.records()["latency"]

    result.assert_outcomes(failed=1)
    assert ("pass", True) == (record["outcome"], "xpass" in record["flags"])
    result.stdout.fnmatch_lines(["[[]1[]] Fake Engine, latency: *xpass: right, though a known issue is declared, *"])


def test_a_hook_that_raises(project: Project) -> None:
    """A `pytest_inferena_record` of somebody that raises costs no figure and no cell, and is told once."""
    project.append("conftest.py", "\n\ndef pytest_inferena_record(record):\n    raise ValueError('my mistake')\n")
    result = project.run()

    result.assert_outcomes(passed=4)
    assert dict.fromkeys(METRICS, "pass") == project.outcomes()
    told = "inferena: a hook pytest_inferena_record raised ValueError: my mistake"
    assert 1 == result.outlines.count(told)


@pytest.mark.parametrize("name", ["framework", "model"])
def test_parametrised_over_engines(project: Project, name: str) -> None:
    """A test that names an engine or model by parametrize is refused: it would be measured under another's name."""
    project.write("test_own.py", f"import pytest\n\n\n@pytest.mark.latency\n@pytest.mark.parametrize({name!r}, ['x'])\n"
                  f"def test_named(cell, {name}):\n    cell.measure()\n")  # fmt: skip
    result = project.run("test_own.py")

    assert pytest.ExitCode.USAGE_ERROR == result.ret
    result.stderr.fnmatch_lines([f"*test_named*: parametrize('{name}') does not choose what a cell measures; *"])
