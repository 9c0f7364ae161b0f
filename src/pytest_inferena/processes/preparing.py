"""How the preparer is started: once a session where it can fork for each request, or else for each request."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import weakref
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_inferena import system
from pytest_inferena.processes import marks
from pytest_inferena.processes.client import GRACE, THREADS, WorkerFailed, affinity, inherited, pipes
from pytest_inferena.processes.watch import Watch

if sys.platform == "win32":
    from pytest_inferena.processes.threaded import Threaded as Pipes
else:
    from pytest_inferena.processes.selecting import Selecting as Pipes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import IO

    from pytest_inferena.engines.limits import Limits
    from pytest_inferena.processes.channel import Channel

PARENT = Path(__file__).parents[2]
PREPARING = (
    "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_ENDPOINT", "TRANSFORMERS_OFFLINE", "TORCH_HOME", "INFERENA_CACHE",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
)  # fmt: skip
"""What the preparer gets beside the variables of a worker: where checkpoints are, and the way to them. No token."""
FORKS = sys.platform == "linux"
"""Whether libraries that are imported go on in a fork. Those of macOS need not, and Windows cannot fork."""


@dataclass(frozen=True)
class Start:
    """What a preparer finds when it starts."""

    threads: int
    folder: Path
    variables: Mapping[str, str]

    @classmethod
    def now(cls, threads: int, passed: Mapping[str, str]) -> Start:
        """As things are, with `passed`, the variables of the environment that the user lets through."""
        path = os.pathsep.join(filter(None, [str(PARENT), os.environ.get("PYTHONPATH")]))
        variables = inherited(PREPARING) | dict.fromkeys(THREADS, str(threads)) | {**passed, "PYTHONPATH": path}
        return cls(threads, Path.cwd(), variables)


class Process:
    """A preparer's process, and all that it has started."""

    def __init__(self, start: Start, *arguments: str, output: IO[bytes] | int, ends: Sequence[int] = ()) -> None:
        self._mark = marks.marks().new()
        variables = {**start.variables, marks.VARIABLE: self._mark, **(pipes(*ends) if ends else {})}
        command = [sys.executable, "-m", "pytest_inferena.prepare", *arguments]
        with affinity(start.threads), system.inherited(*ends) as own:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=variables, cwd=start.folder, **own
            )
        self._group = system.Group(self.process)

    @contextlib.contextmanager
    def within(self, limits: Limits) -> Iterator[None]:
        """Keep it within limits meanwhile. That of a file is each request's own: who answers it sets it.

        Raises:
            WorkerFailed: it passed one, and was ended.
        """
        watch = Watch(replace(limits, file=None), self._mark)
        watch.started(self.process)
        with watch.watching():
            yield
        if watch.broken is not None:
            outcome, words = watch.broken
            raise WorkerFailed(outcome, f"prepare: {words}")

    def kill(self) -> int:
        """End all of them. Returns the exit status."""
        self._group.kill()
        status = self.process.wait()
        marks.end(self._mark)
        return status

    def kill_others(self) -> None:
        """End what it has started."""
        marks.end(self._mark, but=self.process.pid)


def once(start: Start, file: Path, deadline: float, limits: Limits) -> int:
    """Have a request answered by a process of its own. Returns its exit status.

    Raises:
        TimeoutError: it is not done.
        WorkerFailed: it passed one of the limits.
    """
    with file.with_name("log").open("wb") as log:
        process = Process(start, str(file), output=log)
    try:
        with process.within(limits):
            return process.process.wait(deadline)
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    finally:
        process.kill()


class Server:
    """A preparer that forks for each request."""

    def __init__(self, start: Start) -> None:
        self._start, self._owner = start, os.getpid()
        self._channel = channel = Pipes()
        started = None
        try:
            ends = channel.child_read, channel.child_write
            self._process = Process(start, output=channel.child_output, ends=ends)
            started = self._process.process
        finally:
            channel.started(started)
            if started is None:
                channel.close()
        self._close = weakref.finalize(self, _end, self._process, channel, self._owner)

    def serves(self, start: Start) -> bool:
        """Whether it lives, is this process's, and has started as one would start now."""
        return self._owner == os.getpid() and self._process.process.poll() is None and self._start == start

    def run(self, file: Path, deadline: float, limits: Limits) -> int:
        """Have a request answered. Returns the exit status of the fork; of the server, if that has ended.

        Raises:
            TimeoutError: it is not done.
            WorkerFailed: it passed one of the limits.
        """
        with self._process.within(limits):
            return self._answer(file, time.monotonic() + deadline)

    def _answer(self, file: Path, until: float) -> int:
        try:
            self._channel.send(os.fsencode(file) + b"\n", until)
            status = int(self._channel.receive(until))
        except (BrokenPipeError, EOFError):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.process.wait(GRACE)
            status = self.close()
            with file.with_name("log").open("ab") as log:
                log.write(self._channel.log())
        except BaseException:  # of a time limit too: the next request would get this one's answer
            self.close()
            raise
        else:
            self._process.kill_others()
        return status

    def close(self) -> int:
        """End it. Returns its exit status."""
        self._close()
        return self._process.process.wait()


def _end(process: Process, channel: Channel, owner: int) -> None:
    """What a fork of pytest inherits is not its own to end."""
    if os.getpid() == owner:
        process.kill()
        channel.close()
