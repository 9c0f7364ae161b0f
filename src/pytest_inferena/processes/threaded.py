"""A channel on systems where waiting for a pipe means reading it: Windows. Threads wait, one for each pipe."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from typing import TYPE_CHECKING

from pytest_inferena.processes.channel import CHUNK, Channel
from pytest_inferena.worker.protocol import LIMIT

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

PATIENCE = 0.2
"""Seconds in which what a worker has written before its end comes through the pipes."""


class Threaded(Channel):
    """Each of its threads ends when its pipe does, which is when the worker and all that it has started have ended."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._chunks: queue.Queue[bytes] = queue.Queue(maxsize=LIMIT // CHUNK)
        """Pieces of answers; an empty one at the end. The worker waits where nobody takes them."""
        self._written: queue.SimpleQueue[bool] = queue.SimpleQueue()
        """Whether each line could be written."""
        self._threads: list[threading.Thread] = []
        self._closed = False

    def close(self) -> None:
        """Keep the end of the log, let the threads go."""
        if self._closed:
            return
        self._closed = True
        self._lines.put(None)
        if not self._threads:
            for end in (self._requests, self._answers, self._output):
                os.close(end)
        with contextlib.suppress(queue.Empty):
            while self._threads:  # the thread of the answers may wait for room
                self._chunks.get_nowait()
        for thread in self._threads:
            thread.join(PATIENCE)

    def log(self) -> bytes:
        """The last of what the worker has printed."""
        return self._log

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        for work in (self._all_lines, self._all_chunks, self._all_output, lambda: self._death(process)):
            self._threads.append(self._begin(work))

    @staticmethod
    def _begin(work: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread

    def _early(self) -> bytes:
        try:
            return self._chunks.get_nowait()
        except queue.Empty:
            return b""

    def _write(self, line: bytes, until: float) -> None:
        self._lines.put(line)
        try:
            done = self._written.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            raise TimeoutError from None
        if not done:
            raise EOFError

    def _read(self, until: float) -> bytes:
        try:
            return self._chunks.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            raise TimeoutError from None

    # -- each in a thread of its own

    def _all_lines(self) -> None:
        with os.fdopen(self._requests, "wb", buffering=0) as pipe:
            while (line := self._lines.get()) is not None:
                try:
                    while line:
                        line = line[pipe.write(line) :]
                    self._written.put(True)
                except OSError:
                    self._written.put(False)

    def _all_chunks(self) -> None:
        with os.fdopen(self._answers, "rb", buffering=0) as pipe:
            chunk = b"x"
            while chunk and not self._closed:
                chunk = pipe.read(CHUNK)
                self._put(chunk)

    def _put(self, chunk: bytes) -> None:
        while not self._closed:
            try:
                self._chunks.put(chunk, timeout=PATIENCE)
            except queue.Full:
                continue
            break

    def _all_output(self) -> None:
        with os.fdopen(self._output, "rb", buffering=0) as pipe:
            while chunk := pipe.read(CHUNK):
                self._keep(chunk)

    def _death(self, process: subprocess.Popen[bytes]) -> None:
        """What the worker has started may hold its pipes open: they count as closed all the same, a moment later."""
        process.wait()
        time.sleep(PATIENCE)
        self._put(b"")
        self._written.put(False)
