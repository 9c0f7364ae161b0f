"""One trial: a project with cells that end in four ways, ordinary tests beside them, and a plugin of somebody."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from tests.projects import HERE, Folder
from tests.stories import COUNT, FILES, GOOD, Stories, tell

if TYPE_CHECKING:
    from pathlib import Path

    from tests.compatibility.plugins import Plugin

CELLS = {"passing": "pass", "failing": "fail", "crashing": "crash", "hanging": "timeout"}
"""Engines, and the outcome of their one cell."""
ORDINARY = 5
LIMIT = 180
"""Seconds that a trial may take. It takes 5 to 20."""


class TrialError(Exception):
    """Pytest ended without telling its stories."""


def run(path: Path, python: str, plugin: Plugin) -> tuple[list[str], str]:
    """Run pytest beside a plugin.

    Args:
        path: an empty folder.
        python: an interpreter that has both plugins.
        plugin: the other plugin.

    Returns:
        What is not as it should be, a line each, and what pytest counts.

    Raises:
        TrialError: pytest ended without telling its stories.
    """
    project = prepare(path, plugin)
    options = ["--inferena-threads=1", "--inferena-timeout=measure=3", "--benchmark-disable"]
    command = [python, "-m", "pytest", *options, *FILES, *plugin.options]
    try:
        done = subprocess.run(
            command, cwd=path, env=environment(path) | dict(plugin.environment), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", timeout=LIMIT, check=False,
        )  # fmt: skip
        stories = tell(project, done.stdout, cell_of)
    except subprocess.TimeoutExpired:
        raise TrialError(f"pytest was not done in {LIMIT} s") from None
    except (OSError, LookupError, ValueError) as error:
        raise TrialError(f"{error!r} after pytest said: {' '.join(done.stdout.split())[-600:]}") from error
    return [*stories.differences(), *surprises(project, stories, plugin)], count(path)


def prepare(path: Path, plugin: Plugin) -> Folder:
    """Write the project."""
    project = Folder(path)
    project.engines(*CELLS)
    project.append("conftest.py", COUNT)
    for name in ("inference", "training", "compile"):
        (path / f"test_{name}.py").unlink()
    shutil.copy(HERE / "project" / "ordinary.py", path / "test_ordinary.py")
    if plugin.test:
        project.write("test_plugin.py", plugin.test)
    project.fault(engine="failing", result="wrong")
    project.fault("measure", "signal", engine="crashing")
    project.fault("measure", "hang", engine="hanging")
    subprocess.run(["git", "init", "--quiet", str(path)], check=True)  # some plugins ask git what has changed
    return project


def environment(home: Path) -> dict[str, str]:
    """This process's, without what tells plugins where they run. A home of its own has locks that nobody waits for."""
    without = ("PYTEST_", "GITHUB_", "CI", "VIRTUAL_ENV", "PYTHON")
    return {name: value for name, value in os.environ.items() if not name.startswith(without)} | {"HOME": str(home)}


def cell_of(test: str) -> tuple[str, str] | None:
    """The engine and metric that a test measures, None for an ordinary one."""
    return next(((engine, "latency") for engine in CELLS if f"-{engine}-" in test), None)


def surprises(project: Folder, stories: Stories, plugin: Plugin) -> list[str]:
    """What came out otherwise than it would without the plugin, a line each."""
    told = {record.framework: record.outcome for record in (project.journal() if project.journals() else [])}
    lines = [
        f"the {engine} cell is told as {told.get(engine)}, not as {outcome}"
        for engine, outcome in CELLS.items()
        if told.get(engine, outcome if plugin.selects else None) != outcome
    ]
    ordinary = {test: kind for test, kind in stories.tests["pytest"].items() if not cell_of(test)}
    lines += [f"{test} does not pass" for test, kind in ordinary.items() if kind != GOOD]
    if len(ordinary) < ORDINARY and not plugin.selects:
        lines.append(f"{len(ordinary)} ordinary tests ran, not {ORDINARY}")
    return lines


def count(path: Path) -> str:
    """Pytest's count, in the words of its last line: not every plugin leaves that line as it is."""
    found: dict[str, list[str]] = json.loads((path / "count.json").read_text())
    return ", ".join(f"{len(tests)} {word}" for word, tests in sorted(found.items()) if tests) or "no test ran"
