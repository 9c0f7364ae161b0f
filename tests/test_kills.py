"""kill -9 of pytest at moments that nobody chooses, then --inferena-resume. More of them: `make kills`."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.test_stops import temporary
from tests.workers import until

from pytest_inferena.cell import METRICS
from pytest_inferena.results import read

if TYPE_CHECKING:
    from tests.projects import Project

__all__ = ["temporary"]

KILLS = int(os.environ.get("INFERENA_KILLS", "3"))
SEED = int(os.environ.get("INFERENA_SEED", "25"))
LONGEST = 6.0
"""Seconds in which most runs are done; a kill comes before."""


def left(temporary: Path) -> list[str]:
    """Processes of this test's runs, and folders in TMPDIR. The runs are told by their TMPDIR, which all inherit."""
    mark = f"TMPDIR={temporary}".encode()
    found = []
    for folder in Path("/proc").glob("[1-9]*"):
        with contextlib.suppress(OSError):  # another user's, or gone
            if mark in (folder / "environ").read_bytes().split(b"\0") and int(folder.name) != os.getpid():
                found.append((folder / "cmdline").read_text().replace("\0", " "))
    return found + [str(path) for path in temporary.glob("inferena-*")]


def test_kills(project: Project, temporary: Path) -> None:
    """No record is lost, torn or doubled, each run goes on where the last was killed, and nothing is left of any."""
    chance = random.Random(SEED)  # noqa: S311 - no secret
    before: set[str] = set()
    for _ in range(KILLS):
        run = project.start("--inferena-resume")
        try:
            run.wait(chance.uniform(0.2, LONGEST))
        except subprocess.TimeoutExpired:
            run.kill()
            run.wait()
        records = {str(record) for journal in project.journals()[-1:] for record in read(journal).records}
        assert before <= records
        before = records
        assert until(lambda: not left(temporary)), left(temporary)
    project.run("--inferena-resume").assert_outcomes(passed=4)
    [journal] = project.journals()
    measured = [json.loads(line)["metric"] for line in journal.read_text().splitlines()[1:]]

    assert [*METRICS] == measured
