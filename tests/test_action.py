"""Tests of the script that GitHub's action runs, and any other CI can."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_inferena import results

if TYPE_CHECKING:
    from tests.projects import Project

ACTION = Path(__file__).parents[1] / "action"
CELL = "-m latency --inferena-threads=1 --benchmark-warmup=off --benchmark-min-rounds=3 --benchmark-max-time=0.05"
pytestmark = pytest.mark.skipif(shutil.which("sh") is None, reason="the script is for POSIX's sh")


def measure(project: Project, **variables: str) -> int:
    """Run the script in the project, with the commands of this environment. Returns its exit code."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "ARGUMENTS": CELL, **variables}
    return subprocess.run(["sh", str(ACTION / "measure.sh")], cwd=project.path, env=environment, check=False).returncode


def test_alone(project: Project) -> None:
    """Result file, JUnit's file and the summary; pytest's exit code is the script's."""
    summary = project.write("summary.md", "before\n")
    project.fault(result="wrong")

    assert 1 == measure(project, GITHUB_STEP_SUMMARY=str(summary))
    assert ["latency"] == [record.metric for record in results.read(project.path / "inferena" / "results.json").records]
    assert "Tiny MLP" in summary.read_text()
    assert summary.read_text().startswith("before\n")
    assert "<failure" in (project.path / "inferena" / "junit.xml").read_text()


def test_beside_a_base(project: Project, tmp_path: Path) -> None:
    """Both sides are measured, and a broken rule is in the summary and in the exit code."""
    slow = shutil.copytree(project.path, tmp_path / "slow")
    project.fault(engine=f"{slow}/fake", sleep=0.02)
    sides = {"BASE": ".", "HEAD": str(slow), "ROUNDS": "2", "FAIL_ON": "latency>50%,verdict", "GITHUB_STEP_SUMMARY": ""}

    assert 1 == measure(project, **sides)
    summary = (project.path / "inferena" / "summary.md").read_text().splitlines()
    assert ("```text", "```") == (summary[0], summary[-1])
    assert summary[-2].startswith("latency>50%: Tiny MLP, Fake Engine, latency is ")
    assert 2 == len(results.read(project.path / "inferena" / "head.json").records[0].samples)


def test_inputs_are_the_script_s() -> None:
    """Every input reaches the script as a variable, and none stands in a command, where it could be one."""
    text = (ACTION / "action.yml").read_text()
    script = (ACTION / "measure.sh").read_text()
    lines = [line for line in text.splitlines() if "${{ inputs." in line]
    given = [line.split(":")[0].strip() for line in lines if "path:" not in line]

    assert ["ARGUMENTS", "BASE", "HEAD", "ROUNDS", "FAIL_ON", "OUTPUT"] == given
    assert all(name in script for name in given)
    assert not [line for line in text.splitlines() if "run:" in line and "${{" in line]
