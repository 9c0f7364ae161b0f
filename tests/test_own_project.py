"""Whole suites that use `inferena`: a team's project, and the lines of the README, on real engines."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.in_ci import long

ROOT = Path(__file__).parents[1]
TEAM = ROOT / "tests" / "projects" / "team"


def block(page: str, heading: str) -> str:
    """The first lines of Python below a heading of a page."""
    _, _, text = (ROOT / page).read_text(encoding="utf-8").partition(f"\n## {heading}\n")
    found = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert found
    return found[1]


SUITES = [
    pytest.param((), id="plain"),
    pytest.param(("-n", "2"), id="xdist", marks=long),
    pytest.param(("--cov=pricing",), id="cov", marks=long),
]
"""Options of a run of the team's suite."""


@pytest.fixture(scope="session")
def team(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The team's project in a folder of its own, where its model is prepared once."""
    return shutil.copytree(TEAM, tmp_path_factory.mktemp("team") / "pricing")


def run(folder: Path, cache: Path, *options: str) -> str:
    """What pytest says in a folder, where all tests have to pass."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--inferena-threads=1", *options]
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment | {"INFERENA_CACHE": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_it_has_ten_files() -> None:
    """It is a project as teams have them, not a toy."""
    assert 10 <= sum(path.is_file() and "__pycache__" not in path.parts for path in TEAM.rglob("*"))


@pytest.mark.parametrize("options", SUITES)
def test_the_teams_suite(team: Path, cache: Path, options: tuple[str, ...]) -> None:
    """Its tests pass in one process, in two, and under coverage, which is that of the project's own code."""
    said = run(team, cache, *options, "--inferena-report=json:report.json", "--benchmark-json=benchmark.json")
    records = json.loads((team / "report.json").read_text())["records"]
    groups = [row["group"] for row in json.loads((team / "benchmark.json").read_text())["benchmarks"]]

    assert "8 passed" in said
    assert [("pass", "tiny")] * 5 == [(record["outcome"], record["size"]) for record in records]
    assert (7, 2) == (len(groups), groups.count("engines of the shop"))
    assert "automatically disabled" not in said
    if "--cov=pricing" in options:
        assert re.search(r"src/pricing/features.py +\d+ +0 +100%", said)


def test_types(team: Path, tmp_path: Path) -> None:
    """A strict type checker knows the fixture and the result, and refuses what they do not have."""
    shutil.copytree(team, tmp_path, dirs_exist_ok=True)
    right = check(tmp_path)
    tests = tmp_path / "tests" / "test_engines.py"
    tests.write_text(
        tests.read_text().replace("result.right", "result.wrong").replace("metric=metric", "metrik=metric")
    )
    wrong = check(tmp_path)

    assert 0 == right.returncode, right.stdout
    assert '"Result" has no attribute "wrong"' in wrong.stdout
    assert 'Unexpected keyword argument "metrik"' in wrong.stdout


def check(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check a folder's types, as its own settings say."""
    command = [sys.executable, "-m", "mypy"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_lines_of_the_readme(tmp_path: Path, cache: Path) -> None:
    """They are at most ten, and pass as they stand there, beside the model of CONTRIBUTING."""
    lines = block("README.md", "Test your own model in your own suite")
    (tmp_path / "my_net.py").write_text(block("CONTRIBUTING.md", "Add a model"))
    (tmp_path / "test_my_net.py").write_text(lines)
    said = run(tmp_path, cache)

    assert len([line for line in lines.splitlines() if line]) <= 10
    assert "3 passed" in said
    assert re.search(r"My net\n(.*\n)+ONNX Runtime .*\nPyTorch ", said)
