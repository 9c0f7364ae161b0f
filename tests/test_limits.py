"""Limits: who takes too much is ended, or refused by the kernel, and its record says which limit it was."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.projects import MODEL
from tests.test_prepare import target
from tests.workers import alive, failure, until

from pytest_inferena import system
from pytest_inferena.engines import limits
from pytest_inferena.engines.limits import GIB, Limits, size_of
from pytest_inferena.processes import marks
from pytest_inferena.processes.client import WorkerFailed
from pytest_inferena.processes.preparer import Preparer
from pytest_inferena.processes.watch import Watch, pause
from pytest_inferena.processes.workload import Workload
from pytest_inferena.system import posix

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.projects import Project

    from pytest_inferena.processes.client import Worker

MIB = 1 << 20
IN_ADAPTER = "of [limits] in adapter.toml allows more"
GROWS = "x = []\nwhile True:\n    x.append(bytearray(b'x') * (8 << 20))\n    time.sleep(0.005)"
SLEEPS = "import time\ntime.sleep(600)"
CHILD = "subprocess.Popen([sys.executable, '-S', '-c', {body!r}], start_new_session=True)"


@pytest.mark.parametrize(
    "body", [GROWS, CHILD.format(body=f"import time\n{GROWS}") + "\ntime.sleep(600)"], ids=["itself", "a child"]
)
def test_memory(start: Callable[..., Worker], body: str) -> None:
    """A worker that takes memory without end is ended at its limit, with the child that takes it."""
    worker = start(body, limits=Limits(memory=150 * MIB))
    outcome, message = failure(worker)

    assert "oom" == outcome
    assert message.startswith("load: it took ")
    assert message.endswith(f"and its limit is 150 MiB; --inferena-memory=SIZE, or 'memory' {IN_ADAPTER}")
    assert 150 <= float(message.split()[3]) < 1000
    assert not alive(worker.process.pid)


def test_memory_that_is_shared_counts_once(start: Callable[..., Worker]) -> None:
    """Children that were forked and share their parent's memory do no harm."""
    fork = "x = bytearray(b'x') * (80 << 20)\nfor _ in range(3):\n    os.fork() or time.sleep(600)\ntime.sleep(0.5)"
    worker = start(f"{fork}\nanswer(ok=True, ns=5)", limits=Limits(memory=150 * MIB))

    assert {"ok": True, "ns": 5} == worker.ask("load", 30)


def test_mapped_files_are_no_memory(start: Callable[..., Worker], tmp_path: Path) -> None:
    """Weights that are mapped from a file may be as large as they are: the system can drop them."""
    file = tmp_path / "weights"
    file.write_bytes(bytes(100 * MIB))
    body = f"import mmap\nmapped = mmap.mmap(os.open({str(file)!r}, os.O_RDONLY), 0, prot=mmap.PROT_READ)"
    read = f"{body}\nsum(mapped[::4096])\ntime.sleep(0.2)\nanswer(ok=True, ns=5)"

    assert {"ok": True, "ns": 5} == start(read, limits=Limits(memory=50 * MIB)).ask("load", 30)


def test_processes(start: Callable[..., Worker]) -> None:
    """A worker that starts processes without end is ended, and they with it."""
    body = f"while True:\n    {CHILD.format(body=SLEEPS)}"
    worker = start(body, limits=Limits(processes=20))
    outcome, message = failure(worker)

    assert "error" == outcome
    assert message.startswith("load: it has ")
    assert message.endswith(f" processes, and its limit is 20; 'processes' {IN_ADAPTER}")
    assert [] == marks.carriers(worker._mark, marks.living())


FULL = "answer(ok=False, kind='error', message=str(error))"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("open('file', 'wb').write(bytes(2 << 20))", f"; a file may have 1 MiB: 'file' {IN_ADAPTER}"),
        ("x = [open('/dev/null') for _ in range(99)]", f"; a process may open 50: 'files' {IN_ADAPTER}"),
    ],
    ids=["size", "open"],
)
def test_files(start: Callable[..., Worker], body: str, said: str) -> None:
    """What the kernel refuses is the cell's error, which names the limit."""
    attempt = f"try:\n    {body}\nexcept OSError as error:\n    {FULL}"
    outcome, message = failure(start(attempt, limits=Limits(file=MIB, files=50)))

    assert "error" == outcome
    assert message.endswith(said)


def test_a_file_of_an_executable(start: Callable[..., Worker]) -> None:
    """What is not Python is ended by the kernel, and the signal's meaning is told."""
    body = "signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\nopen('file', 'wb').write(bytes(2 << 20))"

    assert (
        "crash",
        "load: killed by SIGXFSZ: it wrote a larger file than 'file' of [limits] in adapter.toml allows",
    ) == failure(start(body, limits=Limits(file=MIB)))


def test_who_is_ended_first(start: Callable[..., Worker]) -> None:
    """Where the kernel has to end somebody for want of memory, it is a worker and not pytest."""
    worker = start("answer(ok=True, ns=5, score=open('/proc/self/oom_score_adj').read().strip())")

    assert "1000" == worker.ask("load", 30)["score"]


def test_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """They grow with the machine and the model; what was chosen last counts."""
    monkeypatch.setattr(system, "memory_limit", lambda: 24 * GIB)
    assert 24 * GIB - 24 * GIB // 10 == limits.most()
    monkeypatch.setattr(system, "memory_limit", lambda: 2 * GIB)
    assert 3 * GIB // 2 == limits.most()
    monkeypatch.setattr(system, "memory_limit", lambda: None)
    assert Limits(None, 16 * GIB + 1600) == Limits.of(100)
    assert Limits(3, 5, 7) == Limits.of(0, {"memory": "2", "files": "7"}, {"memory": "3", "file": "5"})


@pytest.mark.parametrize("text", ["", "0", "-1", "8", "8gb", "8GiB8", "1e3GiB", "٣GiB", "9" * 16, "inf"])
def test_sizes(text: str) -> None:
    """A size is a whole number and a unit, or bytes; everything else is refused."""
    if text == "8":
        assert (8, 8 << 20, 8 * GIB) == (size_of(text), size_of("8MiB"), size_of("8GiB"))
    else:
        with pytest.raises(ValueError, match="a size over 0 is expected, such as 8GiB or 512MiB"):
            size_of(text)


def test_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest limit of the control groups that this process is in counts, of either version."""
    for name, text in {
        "cgroup": "4:memory:/a\n3:cpu:/a\n0::/b/c\n", "memory/a/memory.limit_in_bytes": "9000",
        "b/memory.max": "7000", "b/c/memory.max": "max", "memory.max": "8000",
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    places = {"/proc/self/cgroup": tmp_path / "cgroup", "/sys/fs/cgroup": tmp_path}
    monkeypatch.setattr(posix, "Path", lambda first, *more: Path(places[first], *more))

    assert 7000 == posix.memory_limit()


def test_the_other_cells_go_on(project: Project) -> None:
    """A cell that takes more memory than adapter.toml allows is out of memory; pytest lives, and the others pass."""
    project.append("fake/adapter.toml", '[limits]\nmemory = "250MiB"\n')
    project.fault("compile", "grow", entry="latency")
    result = project.run()

    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["mlp-fake-numeric-latency OOM: compile: it took * limit is 250 MiB; *"])
    assert "oom" == project.outcomes()["latency"]


def test_a_model(project: Project) -> None:
    """A model's file that takes memory without end, by a child of its own, is ended at its limit with the child."""
    note = project.path / "pid"
    child = f"import os, time\nopen({str(note)!r}, 'w').write(str(os.getpid()))\n{GROWS}"
    start = f"import subprocess, sys, time\n{CHILD.format(body=child)}\ntime.sleep(600)\n"
    project.write("models/own.py", f"{MODEL.read_text()}\n{start}")
    result = project.run("-m", "latency", "-k", "own", "--inferena-memory=900MiB")

    result.stdout.fnmatch_lines(["own-fake-numeric-latency OOM: prepare: it took * its limit is 900 MiB; *"])
    assert "oom" == project.outcomes()["latency"]
    assert until(lambda: not alive(int(note.read_text())))


@pytest.mark.parametrize(
    ("left", "took", "seconds"),
    [(None, 0.001, 1), (100 * GIB, 0.001, 1), (2 * GIB, 0.001, 0.25), (0, 0.001, 0.02), (0, 0.03, 0.3), (0, 0.5, 1)],
)
def test_what_watching_takes(left: int | None, took: float, seconds: float) -> None:
    """A look a second, more where a worker is near to its limit, and a tenth of a processor where a look takes long."""
    assert seconds == pytest.approx(pause(left, took))


def test_watching_a_slow_machine(start: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a look takes 30 ms of a processor, 0.3 s pass until the next."""
    family, looks = Watch.family, []

    def slow(watch: Watch) -> list[int]:
        looks.append(until := time.thread_time() + 0.03)
        while time.thread_time() < until:
            pass
        return family(watch)

    monkeypatch.setattr(Watch, "family", slow)
    worker = start("time.sleep(1)\nanswer(ok=True, ns=5)", limits=Limits(memory=200 * MIB))
    began = time.monotonic()
    worker.ask("load", 30)

    assert 1 <= len(looks) <= 1 + (time.monotonic() - began) / 0.3


def test_watching_ends(start: Callable[..., Worker]) -> None:
    """No thread is left between requests, where a test may fork."""
    worker = start("answer(ok=True, ns=5)")
    worker.ask("load", 30)

    assert [] == [thread for thread in threading.enumerate() if thread.name == "inferena-limits"]


def test_a_file_of_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file over a model's limit is no full disk: without the limit the model is prepared."""
    monkeypatch.setenv("INFERENA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")  # Python leaves a module's cut short, and nobody can import it
    engine = target()
    workload = Workload(engine.model, "tiny", "seeded")
    preparer = Preparer(1, 120, limits={"file": "1KiB"})
    try:
        with pytest.raises(WorkerFailed, match="Tiny MLP makes a file of over 1 KiB, the most for its number of"):
            preparer.prepare(workload, engine)
        preparer = Preparer(1, 120)
        assert preparer.prepare(workload, engine).program.exists()
    finally:
        preparer.close()
