"""The parent's side of the protocol: it starts a worker, asks, waits, and gives every failure a type."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferena import system
from pytest_inferena.cell import Outcome
from pytest_inferena.engines.limits import Limits
from pytest_inferena.processes import marks
from pytest_inferena.processes.memory import Memory
from pytest_inferena.processes.watch import Watch
from pytest_inferena.worker import protocol

if sys.platform == "win32":
    from pytest_inferena.processes.threaded import Threaded as Pipes
else:
    from pytest_inferena.processes.selecting import Selecting as Pipes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


GRACE = 5.0
"""Seconds in which a worker has to end after it was told to."""

INHERITED = (
    "PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "TEMP", "TMP",
    "SYSTEMROOT", "COMSPEC", "PATHEXT", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "PROGRAMDATA",
    "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX",
    "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR",
    "CUDA_VISIBLE_DEVICES", "CUDA_HOME", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ONEAPI_DEVICE_SELECTOR",
    "ZE_AFFINITY_MASK", "VK_ICD_FILENAMES", "VK_DRIVER_FILES",
)  # fmt: skip
"""The variables of the environment that a worker gets, beside its threads and adapter.toml's `env`."""

THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS", "RAYON_NUM_THREADS",
)  # fmt: skip


# What the runtimes of Rust and C++ print before they abort: neither lets the program answer then.
_NO_MEMORY = re.compile(r"memory allocation of \d+ bytes failed|std::bad_alloc")


class WorkerFailed(Exception):  # noqa: N818 - becomes an outcome
    """A request had no good answer.

    Attributes:
        outcome: crash, timeout, oom, unsupported or error.
    """

    def __init__(self, outcome: str, message: str) -> None:
        super().__init__(message)
        self.outcome = Outcome(outcome)


@dataclass(frozen=True)
class Launch:
    """How to start a worker."""

    command: tuple[str, ...]
    threads: int
    env: Mapping[str, str]
    """From adapter.toml, with the placeholders filled in."""
    folder: Path
    """The worker's own folder: it runs there, and has its scratch and what it writes there."""
    limits: Limits = field(default_factory=Limits)


class Worker:
    """A live worker process. It has ended after a `WorkerFailed` other than unsupported, oom or error."""

    def __init__(self, launch: Launch) -> None:
        launch.folder.mkdir(parents=True, exist_ok=True)
        self.folder = launch.folder
        self._oom_kills, self._mark = oom_kills(), marks.marks().new()
        self._ended, self._watch = False, Watch(launch.limits, self._mark)
        self._channel = channel = Pipes()
        process = None
        try:
            with affinity(launch.threads), system.inherited(channel.child_read, channel.child_write) as own:
                process = self.process = subprocess.Popen(
                    _found(launch.command), stdin=subprocess.DEVNULL, stdout=channel.child_output,
                    stderr=channel.child_output, env=self._environment(launch), cwd=launch.folder, **own,
                )  # fmt: skip
            self._group = system.Group(process)
            self._watch.started(process)
        except OSError as error:
            raise WorkerFailed("error", f"cannot start {launch.command[0]}: {error.strerror}") from error
        finally:
            channel.started(process)
            if process is None:
                channel.close()

    def ask(self, request: str, deadline: float, **fields: Any) -> dict[str, Any]:
        """Send a request and wait, asleep, at most `deadline` seconds for its answer.

        Raises:
            WorkerFailed: with the outcome that the cell gets.
        """
        if self._ended:
            raise WorkerFailed("crash", f"{request}: the worker has ended")
        began = time.monotonic()
        until = began + deadline
        try:
            line = protocol.encode({"request": request, **fields})
        except protocol.ProtocolError as error:
            raise WorkerFailed("error", f"{request}: {error}") from error
        try:
            with self._watch.watching():
                self._channel.send(line, until)
                reply = protocol.parse(self._channel.receive(until))
            protocol.check(request, reply)
            protocol.check_durations(request, reply, time.monotonic() - began)
        except protocol.ProtocolError as error:
            self.kill()
            raise WorkerFailed("error", f"{request}: broke the protocol: {error}") from error
        except TimeoutError:
            self.kill()
            raise WorkerFailed(
                "timeout",
                f"{request}: no answer in {deadline:g} s; --inferena-timeout={request}=SECONDS gives it longer",
            ) from None
        except (BrokenPipeError, EOFError):
            raise self._died(request) from None
        except BaseException as error:  # a time limit of pytest's, Ctrl-C: the next request would get this one's answer
            error.add_note(f"while the worker was busy with {request}; it was ended")
            self.kill()
            raise
        if not reply["ok"]:
            message = reply["message"] + self._watch.limits.hint(reply["message"])
            raise WorkerFailed(reply["kind"], message[: protocol.TEXT])
        return reply

    def memory(self) -> Memory:
        """Begin to count its memory: what it takes now is what it takes when it is idle."""
        return Memory(self._watch.family)

    def tail(self) -> str:
        """The last 4 KiB of what the worker printed."""
        return self._channel.log().decode(errors="replace")

    def close(self) -> bool:
        """Ask the worker to quit, and kill it if it does not. Returns whether it ended by itself."""
        done = False
        if not self._ended:
            with contextlib.suppress(WorkerFailed, subprocess.TimeoutExpired):
                self.ask("quit", GRACE)
                self.process.wait(GRACE)
                done = True
        self.kill()
        return done

    def kill(self) -> None:
        """Kill the worker and whatever it started, and close the pipes."""
        if self._ended:
            return
        self._ended = True
        self._group.kill()
        self.process.wait()
        marks.end(self._mark)
        self._channel.close()

    def _environment(self, launch: Launch) -> dict[str, str]:
        """The allow-list, the thread budget, the adapter's own, the mark, and where the pipes are."""
        ends = pipes(self._channel.child_read, self._channel.child_write)
        own = {**launch.env, marks.VARIABLE: self._mark, **ends}
        return inherited() | dict.fromkeys(THREADS, str(launch.threads)) | own

    def _died(self, request: str) -> WorkerFailed:
        until = time.monotonic() + GRACE
        while (status := self.process.poll()) is None and time.monotonic() < until:
            self._channel.log()  # what dies may have much to say, and waits until it is read
            time.sleep(0.01)
        if status is None:
            self.kill()
            return WorkerFailed("error", f"{request}: broke the protocol: closed its pipe and went on")
        self.kill()
        if self._watch.broken is not None:
            outcome, words = self._watch.broken
            return WorkerFailed(outcome, f"{request}: {words}")
        kind, words = system.ending(status)
        if kind == "oom" or (kind == "killed" and oom_kills() > self._oom_kills):
            return WorkerFailed("oom", f"{request}: the kernel ended the worker: out of memory")
        if kind == "aborted" and (said := _NO_MEMORY.search(self.tail())):
            return WorkerFailed("oom", f"{request}: {said[0]}")
        return WorkerFailed("crash", f"{request}: {words}")


def pipes(read: int, write: int) -> dict[str, str]:
    """The variables that say where a child finds its ends of the pipes."""
    return {"INFERENA_READ_FD": str(system.handover(read)), "INFERENA_WRITE_FD": str(system.handover(write))}


def inherited(others: Iterable[str] = ()) -> dict[str, str]:
    """The variables that are on the allow-list, and others."""
    return {name: os.environ[name] for name in (*INHERITED, *others) if name in os.environ}


def _found(command: tuple[str, ...]) -> tuple[str, ...]:
    """The command, with an absolute path of the program: the worker runs in another folder."""
    program = os.path.abspath(command[0]) if os.sep in command[0] else command[0]  # noqa: PTH100 - keeps links: a venv's python is one
    return (program, *command[1:])


@contextlib.contextmanager
def affinity(threads: int) -> Iterator[None]:
    """Processes that are started in here run on `threads` CPUs, if the system can arrange that."""
    if sys.platform != "linux":  # on macOS and Windows the engines' own options have to do
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, system.cpus(threads))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def oom_kills() -> int:
    """How many processes the kernel has killed for want of memory, as far as it says."""
    try:
        fields = Path("/proc/vmstat").read_text().split()
    except OSError:
        return 0
    return int(fields[fields.index("oom_kill") + 1]) if "oom_kill" in fields else 0
