"""Chaos: whatever a worker does, the parent types it, ends it, and keeps nothing of it."""

from __future__ import annotations

import os
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_inferena.worker import client
from pytest_inferena.worker.client import INHERITED, THREADS, Launch, Worker, WorkerFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HEAD = """\
import json, os, signal, subprocess, sys, time
reads, writes = int(os.environ["INFERENA_READ_FD"]), int(os.environ["INFERENA_WRITE_FD"])
requests = os.fdopen(reads, "rb")
def say(line):
    while line:
        line = line[os.write(writes, line):]
def answer(**fields):
    say(json.dumps(fields).encode() + b"\\n")
"""
GOOD = {"load": {"ok": True, "ns": 5}}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """Starts a worker that runs some Python after its first request has come."""
    workers: list[Worker] = []

    def started(body: str, *, threads: int = 1, env: dict[str, str] | None = None, early: str = "") -> Worker:
        script = tmp_path / f"worker{len(workers)}.py"
        script.write_text(
            HEAD
            + early
            + "\nfor line in requests:\n"
            + textwrap.indent(textwrap.dedent(body).strip() or "pass", "    ")
        )
        launch = Launch((sys.executable, "-S", str(script)), threads, env or {}, tmp_path / f"folder{len(workers)}")
        workers.append(Worker(launch))
        return workers[-1]

    yield started
    for worker in workers:
        worker.kill()


def failure(worker: Worker, request: str = "load", deadline: float = 30) -> tuple[str, str]:
    """Outcome and message of a request that goes wrong."""
    with pytest.raises(WorkerFailed) as caught:
        worker.ask(request, deadline)
    return caught.value.outcome, str(caught.value)


def open_files() -> int:
    """How many files this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_good_answer_is_returned(start: Callable[..., Worker]) -> None:
    """A worker that keeps to the protocol gets its request and gives its answer."""
    worker = start("answer(ok=True, ns=5, was=json.loads(line))")

    assert {"ok": True, "ns": 5, "was": {"request": "load", "program": "p"}} == worker.ask("load", 30, program="p")


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


def test_death_before_the_request_is_a_crash(start: Callable[..., Worker]) -> None:
    """A worker that is gone before it is asked is no broken pipe of ours."""
    worker = start("", early="sys.exit(4)")
    worker.process.wait()

    assert ("crash", "load: exited with status 4") == failure(worker)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"Segmentation fault? No.\n", "not JSON: b'Segmentation fault? No.'"),
        (b"\xff\xfe\n", r"not JSON: b'\xff\xfe'"),
        (b"\n", "not JSON: b''"),
        (b"[" * 100_000 + b"\n", "not JSON: b'[[["),
        (b"[1, 2]\n", "not an object: b'[1, 2]'"),
        (b"{}\n", "'ok' is neither true nor false in {}"),
        (b'{"ok": 1}\n', "'ok' is neither true nor false"),
        (b'{"ok": true}\n', "'ns' is missing in"),
        (b'{"ok": true, "ns": "5"}\n', "'ns' is no duration: '5'"),
        (b'{"ok": true, "ns": 0}\n', "'ns' is no duration: 0"),
        (b'{"ok": true, "ns": NaN}\n', "'ns' is no duration: nan"),
        (b'{"ok": true, "ns": true}\n', "'ns' is no duration: True"),
        (b'{"ok": false, "kind": "pass", "message": ""}\n', "a failure has a kind (unsupported, oom, error)"),
        (b'{"ok": false, "kind": "error"}\n', "a failure has a kind"),
        (b"x" * ((1 << 20) + 1) + b"\n", "a line over 1048576 bytes"),
        (b"x" * (1 << 24), "a line over 1048576 bytes"),
    ],
    ids=["garbage", "binary", "empty", "deep", "list", "bare", "one", "field", "type", "zero", "nan", "bool",
         "kind", "reason", "long", "endless"],
)  # fmt: skip
def test_nonsense_is_an_error(start: Callable[..., Worker], tmp_path: Path, line: bytes, message: str) -> None:
    """What the protocol does not allow is an error that shows it, and the end of the worker."""
    (tmp_path / "line").write_bytes(line)
    worker = start(f"say(open({str(tmp_path / 'line')!r}, 'rb').read())")
    outcome, said = failure(worker)

    assert "error" == outcome
    assert said.startswith("load: broke the protocol: " + message)
    assert not alive(worker.process.pid)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ns", []),
        ("ns", 5),
        ("ns", [5, -1]),
        ("few", 0),
        ("warmups", -1),
        ("steps_per_sample", 0),
        ("cpu_per_wall", None),
    ],
)
def test_every_field_of_an_answer_is_checked(start: Callable[..., Worker], field: str, value: object) -> None:
    """A field of `measure` that is not what the page says is named."""
    good = {"ok": True, "ns": [5], "steps_per_sample": 1, "warmups": 0, "few": False, "cpu_per_wall": 0.5}
    worker = start(f"answer(**{ {**good, field: value}!r})")

    assert failure(worker, "measure")[1].startswith(f"measure: broke the protocol: {field!r} is no ")


def test_other_version_of_the_protocol_is_an_error(start: Callable[..., Worker]) -> None:
    """A worker that says yes and speaks another version is not believed."""
    worker = start("answer(ok=True, protocol=2, versions={}, ran='')")

    assert ("error", "hello: broke the protocol: 'protocol' is no version: 2") == failure(worker, "hello")


def test_answer_that_nobody_asked_for_is_an_error(start: Callable[..., Worker]) -> None:
    """Two answers to one request never become the answer to the next."""
    worker = start('say(b\'{"ok": true, "ns": 5}\\n\' * 2)')

    assert {"ok": True, "ns": 5} == worker.ask("load", 30)
    assert failure(worker, "compile")[1].startswith("compile: broke the protocol: an answer that nobody asked for")


def test_failure_keeps_its_kind_and_the_worker(start: Callable[..., Worker]) -> None:
    """Unsupported, oom and error are the worker's own words, after which it goes on."""
    worker = start("answer(ok=False, kind=json.loads(line)['request'], message='why')")

    assert [("unsupported", "why"), ("oom", "why"), ("error", "why")] == [
        failure(worker, kind) for kind in ("unsupported", "oom", "error")
    ]
    assert worker.process.poll() is None


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
    message = "load: no answer in 1.5 s; --inferena-timeout=load=SECONDS gives it longer"

    assert ("timeout", message) == failure(worker, deadline=1.5)
    deadline = time.monotonic() + 5
    while alive(int(note.read_text())) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [False, False] == [alive(worker.process.pid), alive(int(note.read_text()))]


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


def test_request_that_is_too_long_is_an_error(start: Callable[..., Worker]) -> None:
    """The parent keeps to the limit too, and the worker lives on."""
    worker = start("answer(ok=True, ns=5)")
    with pytest.raises(WorkerFailed, match="load: a message of 20000"):
        worker.ask("load", 5, program="x" * 2_000_000)

    assert {"ok": True, "ns": 5} == worker.ask("load", 30)


def test_flood_of_output_takes_no_disk(start: Callable[..., Worker], tmp_path: Path) -> None:
    """Of 100 MB on stdout and stderr the last 4 KiB are kept, and no file is written."""
    worker = start("""
        for _ in range(1000): os.write(1, b'x' * 50000); os.write(2, b'y' * 50000)
        os.write(1, b'the end')
        answer(ok=True, ns=5)
    """)
    worker.ask("load", 60)

    assert worker.tail().endswith("y" * 4000 + "the end")
    assert 4096 == len(worker.tail())
    assert [] == list((tmp_path / "folder0").rglob("*"))


def test_log_outlives_the_worker(start: Callable[..., Worker]) -> None:
    """What a worker printed last is there after its death, also between two requests."""
    worker = start("answer(ok=True, ns=5)\nprint('after', flush=True)\nos.kill(os.getpid(), signal.SIGABRT)")
    worker.ask("load", 30)
    failure(worker, "compile")

    assert "after\n" == worker.tail()


def test_closed_output_is_no_end(start: Callable[..., Worker]) -> None:
    """A worker may close stdout and stderr."""
    worker = start("os.close(1); os.close(2); time.sleep(0.3); answer(ok=True, ns=5)")

    assert {"ok": True, "ns": 5} == worker.ask("load", 30)


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
    before = open_files()
    with pytest.raises(WorkerFailed) as caught:
        Worker(Launch((str(command),), 1, {}, tmp_path / "folder"))

    assert ("error", f"cannot start {command}: {reason}") == (caught.value.outcome, str(caught.value))
    assert before == open_files()


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

    assert set() == set(found) - {*INHERITED, *THREADS, *pipes, "ENGINE_OPTION", "LC_CTYPE"}
    assert pipes <= set(found)
    assert ("0", "on", "7", "1") == tuple(
        found[name] for name in ("CUDA_VISIBLE_DEVICES", "ENGINE_OPTION", "OMP_NUM_THREADS", "RAYON_NUM_THREADS")
    )


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


def test_fifty_workers_leave_no_file_open(start: Callable[..., Worker]) -> None:
    """However they end, the parent has as many open files as before."""
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


def test_parent_sleeps_while_it_waits(start: Callable[..., Worker]) -> None:
    """Two seconds of waiting take next to no processor time of the parent, and no thread of it."""
    worker = start("time.sleep(2); answer(ok=True, ns=5)")
    threads, start_cpu = threading.active_count(), time.process_time()
    worker.ask("load", 30)

    assert time.process_time() - start_cpu < 0.2
    assert threads == threading.active_count()


def test_quit_lets_the_worker_end(start: Callable[..., Worker], tmp_path: Path) -> None:
    """A worker that answers `quit` has time to clean up before it ends."""
    note = tmp_path / "clean"
    worker = start(f"answer(ok=True); time.sleep(0.3); open({str(note)!r}, 'w'); break")
    worker.close()

    assert (True, 0) == (note.exists(), worker.process.returncode)


def test_worker_that_does_not_quit_is_ended(start: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch) -> None:
    """After a grace a worker that ignores `quit` is killed, without an error."""
    monkeypatch.setattr(client, "GRACE", 0.2)
    worker = start("signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)")
    worker.close()

    assert -9 == worker.process.returncode


def test_messages_survive_the_pipe(start: Callable[..., Worker]) -> None:
    """A request near the limit arrives whole."""
    worker = start("answer(ok=True, ns=len(json.loads(line)['program']))")

    assert 1_000_000 == worker.ask("load", 30, program="é" * 10 + "x" * 999_990)["ns"]
