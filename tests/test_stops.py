"""A run that is stopped, by whatever signal: nothing that was measured is lost, and nothing is left."""

from __future__ import annotations

import signal
import tempfile
from typing import TYPE_CHECKING

import pytest
from tests.projects import MODEL
from tests.workers import PATIENCE, alive, until

from pytest_inferena.store import scratch

if TYPE_CHECKING:
    from pathlib import Path

    from tests.projects import Project


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A TMPDIR of one's own."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def stopped(project: Project, number: int, *options: str) -> tuple[int, list[int]]:
    """A run that is stopped in its last cell: its exit status, and its worker's processes."""
    note = "\nimport subprocess\n(HERE / 'pid').write_text(str(os.getpid()))\n"
    busy = "import time\nend = time.monotonic() + 600\nwhile time.monotonic() < end:\n    time.sleep(0.1)"
    child = f"subprocess.Popen([sys.executable, '-c', {busy!r}], start_new_session=True).pid"
    project.append("fake/adapter.py", f"{note}(HERE / 'child').write_text(str({child}))\n")
    project.fault("measure", "hang", entry="training")
    run = project.start(*options)
    try:
        assert until(lambda: (project.folder / "hanging").exists() or run.poll() is not None)
    finally:
        run.send_signal(number)
    return run.wait(PATIENCE), [int((project.folder / name).read_text()) for name in ("pid", "child")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_cancelled_run(project: Project, temporary: Path, number: int) -> None:
    """A CI's cancel and a closed terminal are as Ctrl-C: journal and reports have what there is."""
    status, processes = stopped(project, number, "--inferena-report=json:all.json")

    assert pytest.ExitCode.INTERRUPTED == status
    assert [False, False] == [alive(process) for process in processes]
    assert ["compile", "inference", "latency"] == [name for name, end in project.outcomes().items() if end == "pass"]
    assert (project.path / "all.json").exists()
    assert [] == list(temporary.glob("inferena-*"))


def test_a_killed_run_leaves_nothing(project: Project, temporary: Path) -> None:
    """After kill -9 of pytest its worker ends, a child in a session of its own too, and the folder in TMPDIR goes."""
    _, processes = stopped(project, signal.SIGKILL)

    assert until(lambda: not any(map(alive, processes)))
    assert until(lambda: not list(temporary.glob("inferena-*")))


HANGING = """
import os, subprocess, sys, time
from pathlib import Path
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
(Path(__file__).parent / "pids").write_text(f"{os.getpid()} {child.pid} ")
time.sleep(600)
"""


def test_a_preparer_ends_with_its_run(project: Project, temporary: Path) -> None:
    """After kill -9 of pytest a preparer is no orphan, nor what a model has started."""
    project.write("models/own.py", MODEL.read_text() + HANGING)
    note = project.path / "models" / "pids"
    run = project.start("-m", "latency", "-k", "own")
    try:
        assert until(lambda: note.exists() and note.read_text().endswith(" "))
    finally:
        run.kill()
        run.wait()

    assert until(lambda: not any(alive(int(pid)) for pid in note.read_text().split()))
    assert until(lambda: not list(temporary.glob("inferena-*")))


def test_what_the_dead_have_left_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without a living owner goes when the next session begins; one that is in use, or not ours, stays."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    mine = scratch.Scratch()
    for name in ("inferena-dead", "inferena-foreign"):
        (tmp_path / name).mkdir()
    (tmp_path / "inferena-dead" / scratch.OWNER).touch()
    (tmp_path / "inferena-link").symlink_to(tmp_path / "inferena-foreign")
    other = scratch.Scratch()

    live = {mine.folder.name, other.folder.name}
    assert {*live, "inferena-foreign", "inferena-link"} == {path.name for path in tmp_path.iterdir()}
    mine.close()
    other.close()
    assert {"inferena-foreign", "inferena-link"} == {path.name for path in tmp_path.iterdir()}
