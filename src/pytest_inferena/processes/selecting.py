"""A channel on systems where a process can sleep until one of several pipes is ready: Linux and macOS."""

from __future__ import annotations

import contextlib
import os
import selectors
import sys
import time
from typing import TYPE_CHECKING

from pytest_inferena.processes.channel import CHUNK, Channel
from pytest_inferena.worker.protocol import LIMIT

if TYPE_CHECKING:
    import subprocess

assert sys.platform != "win32"  # noqa: S101 - a type checker then knows what is there


class Selecting(Channel):
    """Its pipes never block. Where the system has descriptors of processes, it waits for the worker's death too."""

    def __init__(self) -> None:
        super().__init__()
        self._open = {self._requests, self._answers, self._output}
        for end in self._open:
            os.set_blocking(end, False)
        self._process = -1

    def close(self) -> None:
        """Keep the end of the log, close everything."""
        self.log()
        while self._open:
            os.close(self._open.pop())

    def log(self) -> bytes:
        """The last of what the worker has printed."""
        for _ in range(LIMIT // CHUNK):  # a pipe's content: not for ever, however fast it is filled
            if self._output not in self._open or not self._drain():
                break
        return self._log

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        if sys.platform == "linux":  # elsewhere only a closed pipe shows that it has ended
            with contextlib.suppress(OSError):
                self._process = os.pidfd_open(process.pid)
                self._open.add(self._process)

    def _early(self) -> bytes:
        try:
            return os.read(self._answers, CHUNK)
        except BlockingIOError:
            return b""

    def _write(self, line: bytes, until: float) -> None:
        while line:
            if self._requests not in self._wait(self._requests, selectors.EVENT_WRITE, until):
                raise EOFError
            line = line[os.write(self._requests, line) :]

    def _read(self, until: float) -> bytes:
        ready = self._wait(self._answers, selectors.EVENT_READ, until)
        return os.read(self._answers, CHUNK) if self._answers in ready else b""

    def _wait(self, end: int, event: int, until: float) -> set[int]:
        """Sleep until a pipe is ready or the worker has ended, and read the log meanwhile."""
        with selectors.DefaultSelector() as selector:
            selector.register(end, event)
            for watched in {self._output, self._process} & self._open:
                selector.register(watched, selectors.EVENT_READ)
            while True:
                ready = {key.fd for key, _ in selector.select(max(0.0, until - time.monotonic()))}
                if end in ready or self._process in ready:
                    return ready
                if time.monotonic() >= until:
                    raise TimeoutError
                if self._output in ready and not self._drain():
                    selector.unregister(self._output)

    def _drain(self) -> bool:
        """Read a piece of the log, and say whether there was one."""
        try:
            chunk = os.read(self._output, CHUNK)
        except BlockingIOError:
            return False
        self._keep(chunk)
        return bool(chunk)
