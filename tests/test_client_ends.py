"""Chaos at a worker's end: however it dies, hangs or is let go, the parent types it and keeps nothing of it."""

from __future__ import annotations

import contextlib
import signal
import time
from typing import TYPE_CHECKING

import pytest
from tests.workers import alive, failure, open_files, until

from pytest_inferena.processes import client, marks
from pytest_inferena.processes.client import Worker, WorkerFailed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", ("crash", "load: killed by SIGSEGV")),
        ("os.kill(os.getpid(), signal.SIGKILL)", ("crash", "load: killed by SIGKILL")),
        ("os.kill(os.getpid(), 40)", ("crash", "load: killed by signal 40")),
        ("os._exit(3)", ("crash", "load: exited with status 3")),
        ("os._exit(0)", ("crash", "load: exited with status 0")),
        ("say(b'{\"ok\": true'); os._exit(3)", ("crash", "load: exited with status 3")),
        ("os.set_inheritable(writes, True); subprocess.Popen(['sleep', '60'], close_fds=False); os._exit(3)",
         ("crash", "load: exited with status 3")),
    ],
)  # fmt: skip
def test_death_is_a_crash(start: Callable[..., Worker], body: str, expected: tuple[str, str]) -> None:
    """Signals and statuses are named, also where half an answer or a child with the pipe is left behind."""
    worker = start(body)

    assert expected == failure(worker)
    assert ("crash", "compile: the worker has ended") == failure(worker, "compile")


@pytest.mark.parametrize("words", ["memory allocation of 8589934592 bytes failed", "std::bad_alloc"])
def test_an_abort_for_want_of_memory(start: Callable[..., Worker], words: str) -> None:
    """Rust and C++ abort where there is no room, and say so on stderr; another abort is a crash."""
    worker = start(f"os.write(2, b'terminate: {words}\\n'); os.abort()")

    assert ("oom", f"load: {words}") == failure(worker)
    assert ("crash", "load: killed by SIGABRT") == failure(start("os.write(2, b'GGML_ASSERT(n)'); os.abort()"))


def test_death_before_the_request_is_a_crash(start: Callable[..., Worker]) -> None:
    """A worker that is gone before it is asked is no broken pipe of ours."""
    worker = start("", early="sys.exit(4)")
    worker.process.wait()

    assert ("crash", "load: exited with status 4") == failure(worker)


def test_closing_the_pipe_and_going_on_is_an_error(
    start: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that can no longer answer is ended after a grace."""
    monkeypatch.setattr(client, "GRACE", 0.2)
    worker = start("os.close(writes); time.sleep(600)")

    assert ("error", "load: broke the protocol: closed its pipe and went on") == failure(worker)
    assert not alive(worker.process.pid)


@pytest.mark.parametrize("trick", ["", "say(b'{');", "print('x' * 1000, flush=True);"], ids=["quiet", "half", "log"])
def test_hanging_is_a_timeout_that_ends_all(start: Callable[..., Worker], tmp_path: Path, trick: str) -> None:
    """Past the deadline the message names the option, and child and grandchild are gone."""
    note = tmp_path / "grandchild"
    worker = start(
        f"{trick} child = subprocess.Popen(['sleep', '600'])\n"
        f"open({str(note)!r}, 'w').write(str(child.pid))\ntime.sleep(600)"
    )
    message = "load: no answer in 4 s; --inferena-timeout=load=SECONDS gives it longer"

    assert ("timeout", message) == failure(worker, deadline=4)
    assert until(lambda: not alive(int(note.read_text())))
    assert not alive(worker.process.pid)


@pytest.mark.parametrize("end", ["os._exit(3)", "answer(ok=True)", "os.close(writes); time.sleep(600)"])
def test_a_child_that_left_the_session_ends_too(start: Callable[..., Worker], tmp_path: Path, end: str) -> None:
    """Whatever a worker has started ends with it, also in a session of its own and without a parent."""
    note = tmp_path / "child"
    worker = start(
        "child = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        f"open({str(note)!r}, 'w').write(str(child.pid)); {end}"
    )
    with contextlib.suppress(WorkerFailed):
        worker.ask("outputs", 30)
    worker.kill()

    assert until(lambda: not alive(int(note.read_text())))


def _folder(path: Path, env_end: int) -> Path:
    """What /proc shows of a process whose name has a space and a bracket, and whose environment is empty."""
    (path / "stat").write_text(f"7 (a )b) S {' '.join(['1'] * (marks.ENV_END - 1))} {env_end} 0\n")
    (path / "environ").touch()
    return path


def test_what_takes_on_its_executable_is_waited_for(tmp_path: Path) -> None:
    """For a moment after its start a process has no environment to be found by."""
    folder = _folder(tmp_path, 0)
    (folder / "exe").symlink_to("sleep")
    looked: list[float] = []

    def later(seconds: float) -> None:
        looked.append(seconds)
        if len(looked) == 40:  # long, where others have the processor
            _folder(folder, 9)
            (folder / "environ").write_bytes(b"A=1\0")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", later)
        assert (b"A=1\0", 40) == (marks._environment(folder), len(looked))


def test_an_empty_environment_is_not_waited_for(tmp_path: Path) -> None:
    """A process may have been started with none."""
    assert b"" == marks._environment(_folder(tmp_path, 9))


def test_what_has_ended_is_not_waited_for(tmp_path: Path) -> None:
    """It has no executable either, and neither has a thread of the kernel."""
    with pytest.raises(OSError, match="exe"):
        marks._environment(_folder(tmp_path, 0))


def test_last_words_after_the_pipe_is_closed(start: Callable[..., Worker]) -> None:
    """A worker that closes its pipe, prints a megabyte and aborts has crashed; its log has the end of that."""
    worker = start("os.close(writes); os.write(1, b'x' * (1 << 20) + b'the end'); os.abort()")

    assert ("crash", "load: killed by SIGABRT") == failure(worker)
    assert worker.tail().endswith("the end")


def test_printing_for_ever_is_a_timeout(start: Callable[..., Worker]) -> None:
    """A log that never ends does not keep the parent from its deadline."""
    worker = start("while True: os.write(1, b'x' * 65536)")

    assert "timeout" == failure(worker, deadline=1)[0]


def test_request_that_nobody_reads_is_a_timeout(start: Callable[..., Worker]) -> None:
    """A request larger than a pipe does not block the parent."""
    worker = start("", early="time.sleep(600)")
    with pytest.raises(WorkerFailed, match=r"load: no answer in 0\.5 s"):
        worker.ask("load", 0.5, program="x" * 500_000)

    assert not alive(worker.process.pid)


def test_fifty_workers_leave_no_file_open(start: Callable[..., Worker]) -> None:
    """However they end, the parent has as many open files as before."""
    marks.marks()  # the guard's pipe stays
    before = open_files()
    for body in ["answer(ok=True, ns=5)", "os._exit(1)", "say(b'nonsense\\n')", "pass", "sys.exit()"] * 10:
        worker = start(body)
        if body == "pass":
            worker.kill()
        elif body.startswith("answer"):
            worker.ask("load", 30)
            worker.kill()
        else:
            failure(worker)
        worker.close()

    assert before == open_files()


def test_quit_lets_the_worker_end(start: Callable[..., Worker], tmp_path: Path) -> None:
    """A worker that answers `quit` has time to clean up before it ends."""
    note = tmp_path / "clean"
    worker = start(f"answer(ok=True); time.sleep(0.3); open({str(note)!r}, 'w'); break")

    assert worker.close()
    assert (True, 0) == (note.exists(), worker.process.returncode)


def test_worker_that_does_not_quit_is_ended(start: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch) -> None:
    """After a grace a worker that ignores `quit` is killed, without an error."""
    monkeypatch.setattr(client, "GRACE", 0.2)
    worker = start("signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)")

    assert not worker.close()
    assert -9 == worker.process.returncode


@pytest.mark.parametrize("error", [KeyboardInterrupt, pytest.fail.Exception, RuntimeError])
def test_request_that_is_given_up_ends_the_worker(start: Callable[..., Worker], error: type[BaseException]) -> None:
    """What is raised while the parent waits, by a signal's handler, goes through, and nobody gets the late answer."""
    worker = start("time.sleep(1); answer(ok=True, ns=5)")

    def ring(*_: object) -> None:
        raise error("enough")

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    with pytest.raises(error, match="enough") as caught:
        worker.ask("load", 30)

    assert ["while the worker was busy with load; it was ended"] == caught.value.__notes__
    assert not alive(worker.process.pid)
    assert ("crash", "compile: the worker has ended") == failure(worker, "compile")
