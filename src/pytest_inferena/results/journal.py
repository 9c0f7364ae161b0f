"""The journal: a result file that grows cell by cell."""

import errno
import json
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pytest_inferena.files import hold, release
from pytest_inferena.results.reading import SCHEMA, ResultsError, parsed_json, read
from pytest_inferena.results.record import Record, Run
from pytest_inferena.results.typed import Fault, plain, typed


class RecordError(ResultsError):
    """A record that breaks the schema. It costs itself only."""


class Journal:
    """A result file that grows by one synced line for each record, so that a crash loses at most one cell.

    A new file begins with the header. A file with the same run (by its id) is continued, and a torn last line is cut
    off. Any other file is left alone, and so is one that another process writes.

    Args:
        path: The journal's path; missing folders are made.
        run: The header.

    Raises:
        ResultsError: The file cannot be written, or does not hold this run.

    """

    def __init__(self, path: Path, run: Run) -> None:
        self.path = path
        head = _line({"schema": SCHEMA, "run": _checked(run, f"{path}: run")}, f"{path}: run")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
            self._file = os.open(path, flags, 0o644)
        except OSError as error:
            raise ResultsError(_remedy(path, error)) from error
        try:
            if not hold(self._file):  # else two runs would cut off each other's records
                raise ResultsError(
                    f"{path}: another run is writing it; wait for its end, or name another file with --inferena-results"
                )
            kept = _kept(path, run)
            if kept:
                os.ftruncate(self._file, len(kept))
            if not kept.endswith(b"\n"):
                self._write(b"\n" if kept else head)
        except BaseException:
            self.close()
            raise

    def append(self, record: Record) -> None:
        """Write one record, and wait until it is on the disk. A failure leaves the journal as it was.

        Raises:
            RecordError: The record breaks the schema; others can be written.
            ResultsError: It cannot be written (a full disk).

        """
        where = f"{self.path}: record {record}"
        self._write(_line(_checked(record, where), where))

    def close(self) -> None:
        """Close the file. A second call does nothing."""
        if self._file >= 0:
            release(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, line: bytes) -> None:
        rest = memoryview(line)
        status = os.fstat(self._file)
        before = status.st_size
        try:
            if not os.path.samestat(status, self.path.stat()):
                raise FileNotFoundError(errno.ENOENT, "it was replaced while this run wrote it")
            while rest:
                rest = rest[os.write(self._file, rest) :]
            os.fsync(self._file)
        except OSError as error:
            with suppress(OSError):  # a device such as /dev/full has no length
                os.ftruncate(self._file, before)
            raise ResultsError(_remedy(self.path, error)) from error


def _kept(path: Path, run: Run) -> bytes:
    """Return what is kept of a journal that exists: whole lines of this run."""
    if not path.is_file() or not path.stat().st_size:
        return b""
    found = read(path)
    if found.run.id != run.id:
        raise ResultsError(
            f"{path}: exists and holds run {found.run.id}, not {run.id}; "
            "name another file with --inferena-results, or move this one away"
        )
    data = path.read_bytes()
    head = parsed_json(data.partition(b"\n")[0])
    if not isinstance(head, dict) or "records" in head or head["schema"] != SCHEMA:
        raise ResultsError(
            f"{path}: is no journal of schema {SCHEMA}, so no record can be added; "
            "name another file with --inferena-results"
        )
    return data[: data.rstrip(b"\n").rfind(b"\n") + 1] if found.warnings else data


def _checked(value: Record | Run, where: str) -> dict[str, Any]:
    """What is written. It has to be what can be read."""
    fields = plain(value)
    try:
        typed(type(value), fields)
    except Fault as fault:
        raise RecordError(f"{where}: {fault}") from None
    return fields


def _line(value: object, where: str) -> bytes:
    try:
        return json.dumps(value, allow_nan=False).encode() + b"\n"
    except (TypeError, ValueError) as error:
        raise RecordError(f"{where}: {error}") from error


def _remedy(path: Path, error: OSError) -> str:
    return (
        f"{path}: cannot be written: {error.strerror}; all records up to here are safe. Make room, or name "
        "another file with --inferena-results, and go on with --inferena-resume"
    )
