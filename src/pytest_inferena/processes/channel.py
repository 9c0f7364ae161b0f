"""The parent's ends of a worker's pipes: requests go out, answers and the log come in. It sleeps in between."""

from __future__ import annotations

import contextlib
import os
import selectors
import time

from pytest_inferena.worker.protocol import LIMIT, ProtocolError

LOG_TAIL = 4096
"""The last bytes of the log are kept. The others are read and dropped, so that no worker fills memory or disk."""
CHUNK = 1 << 16


class Channel:
    """Three pipes, none of which ever blocks the parent."""

    def __init__(self) -> None:
        self.child_read, self._requests = os.pipe()
        self._answers, self.child_write = os.pipe()
        self._output, self.child_output = os.pipe()
        self._open = {self._requests, self._answers, self._output}
        for end in self._open:
            os.set_blocking(end, False)
        self._process = -1
        self._buffer = b""
        self._log = b""

    def started(self, pid: int | None) -> None:
        """Leave the child's ends of the pipes to the child, and watch for its death; None if there is no child."""
        for end in (self.child_read, self.child_write, self.child_output):
            os.close(end)
        if pid is not None and hasattr(os, "pidfd_open"):  # else only a closed pipe shows that it has ended
            with contextlib.suppress(OSError):
                self._process = os.pidfd_open(pid)
                self._open.add(self._process)

    def close(self) -> None:
        """Keep the end of the log, close everything."""
        self.log()
        while self._open:
            os.close(self._open.pop())

    def send(self, line: bytes, until: float) -> None:
        """Write a request.

        Raises:
            ProtocolError: there is an answer already.
            BrokenPipeError, EOFError: the worker does not read any more.
            TimeoutError: the worker has not read it when the monotonic clock says `until`.
        """
        with contextlib.suppress(BlockingIOError):
            self._buffer += os.read(self._answers, CHUNK)
        if self._buffer:
            raise ProtocolError(f"an answer that nobody asked for: {self._buffer[:80]!r}")
        while line:
            if self._requests in self._wait(self._requests, selectors.EVENT_WRITE, until):
                line = line[os.write(self._requests, line) :]
            else:
                raise EOFError

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
            ready = self._wait(self._answers, selectors.EVENT_READ, until)
            chunk = os.read(self._answers, CHUNK) if self._answers in ready else b""
            if not chunk:
                raise EOFError
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def log(self) -> bytes:
        """The last of what the worker has printed."""
        for _ in range(LIMIT // CHUNK):  # a pipe's content: not for ever, however fast it is filled
            if self._output not in self._open or not self._drain():
                break
        return self._log

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
        self._log = (self._log + chunk)[-LOG_TAIL:]
        return bool(chunk)
