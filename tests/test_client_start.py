"""How a worker is started: its command, and what of the parent's surroundings it gets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.workers import open_files

from pytest_inferena.engines.framework import Backend
from pytest_inferena.processes import marks
from pytest_inferena.processes.client import INHERITED, THREADS, Launch, Worker, WorkerFailed
from pytest_inferena.session.starting import greet

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("name", "mode", "reason"),
    [("absent", None, "No such file or directory"), ("plain", 0o644, "Permission denied"),
     ("odd", 0o755, "Exec format error")],
)  # fmt: skip
def test_command_that_cannot_start_is_an_error(tmp_path: Path, name: str, mode: int | None, reason: str) -> None:
    """A command that is absent, not executable, or no program is named with the reason, and leaves no pipe open."""
    command = tmp_path / name
    if mode is not None:
        command.write_bytes(b"\0no program")
        command.chmod(mode)
    marks.marks()  # its guard has a pipe, from the first worker on
    before = open_files()
    with pytest.raises(WorkerFailed) as caught:
        Worker(Launch((str(command),), 1, {}, tmp_path / "folder"))

    assert ("error", f"cannot start {command}: {reason}") == (caught.value.outcome, str(caught.value))
    assert before == open_files()


def test_a_revision_that_is_none_is_an_error(start: Callable[..., Worker]) -> None:
    """What a worker says of itself stands in the record, so what cannot stand there is refused at once."""
    worker = start("answer(ok=True, protocol=1, versions={}, ran='Engine', revision=5)")
    with pytest.raises(WorkerFailed, match="hello: broke the protocol: 'revision' is no string: 5"):
        greet(worker, Backend("cpu", "cpu"), 1, 30)


def test_command_is_found_from_the_parents_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path to a program means the same as in the shell, though the worker runs elsewhere."""
    (tmp_path / "true").symlink_to("/bin/true")
    monkeypatch.chdir(tmp_path)
    worker = Worker(Launch(("./true",), 1, {}, tmp_path / "folder"))

    assert 0 == worker.process.wait()
    worker.kill()


def surroundings(worker: Worker) -> dict[str, Any]:
    """What a worker says of itself."""
    return worker.ask("load", 30)


SHOW = """
answer(ok=True, ns=5, env=dict(os.environ), cpus=sorted(os.sched_getaffinity(0)), fds=os.listdir('/proc/self/fd'),
       stdin=os.readlink('/proc/self/fd/0'), group=os.getpgid(0), session=os.getsid(0), cwd=os.getcwd())
"""


def test_environment_is_the_allow_list(start: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret stays with the parent; threads, pipes and what adapter.toml names are there."""
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    found = surroundings(start(SHOW, threads=1, env={"ENGINE_OPTION": "on", "OMP_NUM_THREADS": "7"}))["env"]
    pipes = {"INFERENA_READ_FD", "INFERENA_WRITE_FD"}

    assert set() == set(found) - {*INHERITED, *THREADS, *pipes, "ENGINE_OPTION", "LC_CTYPE", marks.VARIABLE}
    assert pipes <= set(found)
    assert ("0", "on", "7", "1") == tuple(
        found[name] for name in ("CUDA_VISIBLE_DEVICES", "ENGINE_OPTION", "OMP_NUM_THREADS", "RAYON_NUM_THREADS")
    )


@pytest.mark.usefixtures("all_processors")
@pytest.mark.parametrize("threads", [1, 2])
def test_worker_runs_on_as_many_processors_as_it_may(start: Callable[..., Worker], threads: int) -> None:
    """Affinity is the thread budget, and the parent keeps its own."""
    before = os.sched_getaffinity(0)

    assert sorted(before)[:threads] == surroundings(start(SHOW, threads=threads))["cpus"]
    assert before == os.sched_getaffinity(0)


def test_worker_has_a_session_of_its_own_and_no_input(start: Callable[..., Worker], tmp_path: Path) -> None:
    """Ctrl-C in the terminal is the parent's, stdin is null, and the folder is the worker's."""
    worker = start(SHOW)
    found = surroundings(worker)

    assert (worker.process.pid, worker.process.pid) == (found["group"], found["session"])
    assert ("/dev/null", str(tmp_path / "folder0")) == (found["stdin"], found["cwd"])


def test_worker_inherits_its_pipes_alone(start: Callable[..., Worker]) -> None:
    """Of the parent's open files none reaches the worker but the two pipes and the log."""
    with Path(__file__).open() as held:
        os.set_inheritable(held.fileno(), True)
        found = surroundings(start(SHOW))["fds"]

    assert 6 == len(found)  # stdin, stdout, stderr, two pipes, and the listing itself
