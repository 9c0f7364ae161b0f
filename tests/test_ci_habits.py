"""What systems that run tests show of a cell: JUnit's properties, and the first words of a failure."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest
from tests.projects import MODEL

if TYPE_CHECKING:
    from tests.projects import Project


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
