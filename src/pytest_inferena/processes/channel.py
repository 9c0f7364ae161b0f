"""The parent's ends of a worker's pipes: requests go out, answers and the log come in. It sleeps in between."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from pytest_inferena.worker.protocol import LIMIT, ProtocolError

if TYPE_CHECKING:
    import subprocess

LOG_TAIL = 4096
"""The last bytes of the log are kept. The others are read and dropped, so that no worker fills memory or disk."""
CHUNK = 1 << 16


class Channel(ABC):
    """Three pipes, none of which ever blocks the parent. Its kinds differ in how they wait."""

    def __init__(self) -> None:
        self.child_read, self._requests = os.pipe()
        self._answers, self.child_write = os.pipe()
        self._output, self.child_output = os.pipe()
        self._buffer = b""
        self._log = b""

    def started(self, process: subprocess.Popen[bytes] | None) -> None:
        """Leave the child's ends of the pipes to the child, and watch for its death; None if there is no child."""
        for end in (self.child_read, self.child_write, self.child_output):
            os.close(end)
        if process is not None:
            self._watch(process)

    def send(self, line: bytes, until: float) -> None:
        """Write a request.

        Raises:
            ProtocolError: there is an answer already.
            BrokenPipeError, EOFError: the worker does not read any more.
            TimeoutError: the worker has not read it when the monotonic clock says `until`.
        """
        self._buffer += self._early()
        if self._buffer:
            raise ProtocolError(f"an answer that nobody asked for: {self._buffer[:80]!r}")
        self._write(line, until)

    def receive(self, until: float) -> bytes:
        """Read an answer's line, without its newline.

        Raises:
            ProtocolError: it is too long.
            EOFError: the pipe was closed, or the worker has ended, before the line was whole.
            TimeoutError: it has not come when the monotonic clock says `until`.
        """
        while b"\n" not in self._buffer:
            if len(self._buffer) >= LIMIT:
                raise ProtocolError(f"a line over {LIMIT} bytes")
            if not (chunk := self._read(until)):
                raise EOFError
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    @abstractmethod
    def close(self) -> None:
        """Keep the end of the log, close everything."""

    @abstractmethod
    def log(self) -> bytes:
        """The last of what the worker has printed."""

    @abstractmethod
    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """Take notice of the worker's death from now on."""

    @abstractmethod
    def _early(self) -> bytes:
        """What has come of an answer."""

    @abstractmethod
    def _write(self, line: bytes, until: float) -> None:
        """Write all of a line, or raise as `send` does."""

    @abstractmethod
    def _read(self, until: float) -> bytes:
        """Wait for more of an answer. Nothing: the pipe was closed, or the worker has ended.

        Raises:
            TimeoutError: none has come when the monotonic clock says `until`.
        """

    def _keep(self, chunk: bytes) -> None:
        """Keep the end of the log."""
        self._log = (self._log + chunk)[-LOG_TAIL:]
