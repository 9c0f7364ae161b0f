"""What systems that run tests show of a cell: JUnit's properties, and the first words of a failure."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.projects import MODEL

from pytest_inferena.cell import METRICS

if TYPE_CHECKING:
    from tests.projects import Project

PAGE = (Path(__file__).parents[1] / "docs" / "ci.md").read_text(encoding="utf-8")


def cases_of(project: Project, *options: str) -> list[ET.Element]:
    """The test cases of JUnit's file: one that passes, one that breaks and one that is skipped."""
    project.fault("measure", "raise", entry="training")
    project.append("fake/adapter.toml", '\n[[absent]]\nmetric = "latency"\nreason = "it has no small step"\n')
    project.run("--junitxml=junit.xml", *options)
    root = ET.parse(project.path / "junit.xml").getroot()  # noqa: S314 - pytest has written it
    assert ["testsuites", "testsuite"] == [root.tag, root[0].tag]
    return [*root[0]]


def test_what_gitlab_reads(project: Project) -> None:
    """It shows the elements' text, not their attributes; the file comes by the option that the page names."""
    [option] = re.findall(r"-o (junit_family=\w+)", PAGE)
    cases = cases_of(project, "-o", option)
    said = {child.tag: child.text or "" for case in cases for child in case if child.tag != "properties"}

    assert {case.get("file") for case in cases} == {f"test_{metric}.py" for metric in METRICS}
    assert len(cases) == len({(case.get("classname"), case.get("name")) for case in cases})
    assert {"failure", "skipped"} == {*said}
    assert "mlp-fake-numeric-training ERROR" in said["failure"]
    assert "it has no small step" in said["skipped"]


def test_what_jenkins_xunit_allows(project: Project) -> None:
    """With the page's lines in conftest.py, a test case has only what the plugin's schema, junit-10.xsd, has."""
    [lines] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    project.append("conftest.py", lines)
    cases = cases_of(project)

    assert {"failure", "skipped"} == {child.tag for case in cases for child in case}
    assert {"name", "classname", "time"} == {name for case in cases for name in case.attrib}


def test_junit_has_the_figures_as_properties(project: Project) -> None:
    """One for each figure, none with a document in it; what broke has its reason."""
    project.fault("measure", "raise", entry="training")
    project.run("-m", "latency or training", "--junitxml=junit.xml")
    cases = ET.parse(project.path / "junit.xml").getroot().iterfind(".//testcase")  # noqa: S314 - pytest has written it
    figures = [{part.get("name"): part.get("value", "") for part in case.iter("property")} for case in cases]
    (latency, training), records = figures, project.records()

    assert ["outcome", "median", "unit", "tensor", "nrmse", "limit"] == [
        str(name).removeprefix("inferena.") for name in latency
    ]
    assert (records["latency"]["median"], "s", "pass") == (
        float(latency["inferena.median"]), latency["inferena.unit"], latency["inferena.outcome"]
    )  # fmt: skip
    assert {"inferena.outcome": "error", "inferena.reason": records["training"]["reason"]} == training


@pytest.mark.parametrize("assertions", ["rewrite", "plain"])
def test_a_failure_begins_with_cell_verdict_and_cause(
    project: Project, assertions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within the first 70 characters: that is where a summary or an annotation is cut."""
    monkeypatch.setenv("COLUMNS", "250")
    project.fault(result="wrong", entry="latency")
    result = project.run("-m", "latency", f"--assert={assertions}")
    [line] = [line for line in result.outlines if line.startswith("FAILED ")]
    said = line.partition(" - ")[2].removeprefix("AssertionError: ").removeprefix("Failed: ").removeprefix("assert ")

    assert said[:70].startswith("mlp-fake-numeric-latency FAIL: output has NRMSE 1.0e-01")


OWN = """
import pytest

pytestmark = pytest.mark.inferena(model="my_net.py", framework="fake")


def test_once(inferena):
    assert inferena.measure().right


def test_both(inferena):
    assert inferena.measure().right
    assert inferena.measure(metric="latency").right
"""


def test_own_tests_have_properties_too(project: Project) -> None:
    """By the names of what was measured where a test measured several times, over two processes as alone."""
    project.write("my_net.py", MODEL.read_text(encoding="utf-8"))
    project.write("test_own.py", OWN)
    names = []
    for options in ((), ("-n", "2")):
        project.run("test_own.py", "--junitxml=junit.xml", *options).assert_outcomes(passed=2)
        cases = ET.parse(project.path / "junit.xml").getroot().iterfind(".//testcase")  # noqa: S314 - pytest has written it
        names.append({case.get("name"): [part.get("name") for part in case.iter("property")] for case in cases})
    figures = ["outcome", "median", "unit", "tensor", "nrmse", "limit"]
    both = [f"my_net-fake-numeric-{metric}" for metric in ("inference", "latency")]

    assert names[0] == names[1]
    assert [f"inferena.{name}" for name in figures] == names[0]["test_once"]
    assert [f"inferena.{cell}.{name}" for cell in both for name in figures] == names[0]["test_both"]
