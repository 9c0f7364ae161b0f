"""The parent's side of the protocol: starts a worker, asks, waits, and types whatever goes wrong."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferena.worker import protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LOG_TAIL = 4096
"""Bytes of the log that go into a record."""

INHERITED = (
    "PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT",
    "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR",
    "CUDA_VISIBLE_DEVICES", "CUDA_HOME", "HIP_VISIBLE_DEVICES", "VK_ICD_FILENAMES", "VK_DRIVER_FILES",
)  # fmt: skip
"""What a worker sees of the environment, besides its threads and its adapter.toml's `env`."""

THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS", "RAYON_NUM_THREADS",
)  # fmt: skip


class WorkerFailed(Exception):  # noqa: N818 - becomes an outcome
    """A request had no good answer.

    Attributes:
        outcome: crash, timeout, oom, unsupported or error.
    """

    def __init__(self, outcome: str, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome


@dataclass(frozen=True)
class Launch:
    """How to start a worker."""

    command: tuple[str, ...]
    threads: int
    env: Mapping[str, str]
    """From adapter.toml, placeholders filled in."""
    folder: Path
    """The worker's own: its log, its scratch, what it writes."""


class Worker:
    """A live worker process; after a `WorkerFailed` other than unsupported or error it is dead."""

    def __init__(self, launch: Launch) -> None:
        launch.folder.mkdir(parents=True, exist_ok=True)
        self.log = launch.folder / "log"
        self._oom_kills = _oom_kills()
        self._buffer = b""
        child_read, write = os.pipe()
        self._read, child_write = os.pipe()
        self._write = os.fdopen(write, "wb")
        environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
        environment |= dict.fromkeys(THREADS, str(launch.threads)) | dict(launch.env)
        environment |= {"INFERENA_READ_FD": str(child_read), "INFERENA_WRITE_FD": str(child_write)}
        try:
            with self.log.open("wb") as log, affinity(launch.threads):
                self.process = subprocess.Popen(
                    launch.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
                    cwd=launch.folder, pass_fds=(child_read, child_write), start_new_session=True,
                )  # fmt: skip
        except OSError as error:
            self._write.close()
            os.close(self._read)
            raise WorkerFailed("error", f"cannot start {launch.command[0]}: {error.strerror}") from error
        finally:
            os.close(child_read)
            os.close(child_write)

    def ask(self, request: str, deadline: float, **fields: Any) -> dict[str, Any]:
        """Send a request and wait, asleep, at most `deadline` seconds for its answer.

        Raises:
            WorkerFailed: with the outcome that the cell gets.
        """
        try:
            protocol.send(self._write, {"request": request, **fields})
        except BrokenPipeError:
            raise self._died(request) from None
        line = self._line(request, time.monotonic() + deadline, deadline)
        try:
            reply = protocol.parse(line)
            ok = reply["ok"]
        except (protocol.ProtocolError, KeyError) as error:
            self.kill()
            raise WorkerFailed("error", f"{request}: broke the protocol: {error}") from error
        if ok is not True:
            raise WorkerFailed(str(reply.get("kind", "error")), str(reply.get("message", "no message")))
        return reply

    def tail(self) -> str:
        """The last 4 KiB of what the worker printed."""
        size = self.log.stat().st_size
        with self.log.open("rb") as log:
            log.seek(max(0, size - LOG_TAIL))
            return log.read().decode(errors="replace")

    def close(self) -> None:
        """Ask the worker to quit; end it if it does not."""
        if self.process.poll() is None:
            with contextlib.suppress(WorkerFailed):
                self.ask("quit", 5)
        self.kill()

    def kill(self) -> None:
        """End the worker and whatever it started, and free the pipes."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        with contextlib.suppress(OSError):
            self._write.close()
        if self._read >= 0:
            os.close(self._read)
            self._read = -1

    def _line(self, request: str, until: float, deadline: float) -> bytes:
        with selectors.DefaultSelector() as selector:
            selector.register(self._read, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if len(self._buffer) > protocol.LIMIT:
                    self.kill()
                    raise WorkerFailed("error", f"{request}: broke the protocol: a line over {protocol.LIMIT} bytes")
                if not selector.select(max(0.0, until - time.monotonic())):
                    self.kill()
                    raise WorkerFailed(
                        "timeout",
                        f"{request}: no answer in {deadline:g} s; --inferena-timeout={request}=SECONDS gives it longer",
                    )
                chunk = os.read(self._read, 1 << 16)
                if not chunk:
                    raise self._died(request)
                self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _died(self, request: str) -> WorkerFailed:
        try:
            status = self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.kill()
            return WorkerFailed("error", f"{request}: broke the protocol: closed its pipe and went on")
        self.kill()
        if status == -signal.SIGKILL and _oom_kills() > self._oom_kills:
            return WorkerFailed("oom", f"{request}: the kernel ended the worker: out of memory")
        if status < 0:
            return WorkerFailed("crash", f"{request}: killed by {signal.Signals(-status).name}")
        return WorkerFailed("crash", f"{request}: exited with status {status}")


@contextlib.contextmanager
def affinity(threads: int) -> Iterator[None]:
    """Processes started inside run on `threads` CPUs, where the system can say so."""
    if not hasattr(os, "sched_setaffinity"):  # macOS, Windows: the engines' own options must do
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:threads])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _oom_kills() -> int:
    """How often the kernel has ended a process for memory, as far as it tells."""
    try:
        fields = Path("/proc/vmstat").read_text().split()
    except OSError:
        return 0
    return int(fields[fields.index("oom_kill") + 1]) if "oom_kill" in fields else 0
