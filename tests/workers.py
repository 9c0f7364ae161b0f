"""Workers that run a few lines of Python in place of an adapter, and what a test asks and awaits of processes."""

from __future__ import annotations

import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_inferena.engines.limits import Limits
from pytest_inferena.processes import marks
from pytest_inferena.processes.client import Launch, Worker, WorkerFailed

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 90

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


class Workers:
    """Those that one test starts; the script of the n-th is `worker{n}.py`, and it runs in `folder{n}`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.started: list[Worker] = []
        marks.marks()  # the guard keeps a pipe from a process's first worker on: files are counted with it

    def start(self, body: str, *, threads: int = 1, env: dict[str, str] | None = None, early: str = "",
              limits: Limits | None = None) -> Worker:  # fmt: skip
        """A worker that runs `early` at once, and `body` for every request, which is there as `line`."""
        number = len(self.started)
        script = self.path / f"worker{number}.py"
        loop = textwrap.indent(textwrap.dedent(body).strip() or "pass", "    ")
        script.write_text(f"{HEAD}{early}\nfor line in requests:\n{loop}")
        command = (sys.executable, "-S", str(script))
        self.started.append(
            Worker(Launch(command, threads, env or {}, self.path / f"folder{number}", limits or Limits()))
        )
        return self.started[-1]

    def kill(self) -> None:
        """End all of them."""
        for worker in self.started:
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


def until(condition: Callable[[], bool]) -> bool:
    """Wait for something, not for ever; so long that a busy machine is no failure."""
    end = time.monotonic() + PATIENCE
    while not (done := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    return done
