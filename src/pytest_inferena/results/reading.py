"""Reads result files: journals, documents, and what `inferena merge` joined."""

import json
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_inferena.results.record import Record, Run
from pytest_inferena.results.typed import Fault, typed


def _by_process(part: str, raw: dict[str, Any]) -> dict[str, Any]:
    """Schema 2 has samples by process; before it there was one process a cell."""
    samples = raw.get("samples") if part == "record" else None
    return {**raw, "samples": [samples]} if samples else raw


MIGRATIONS: tuple[Callable[[str, dict[str, Any]], dict[str, Any]], ...] = (_by_process,)
"""The first makes a "run" or "record" of schema 1, as JSON values, one of schema 2; the second of 3; and so on."""
LARGEST = 1 << 30
"""Bytes that a result file has at most."""
SCHEMA = 1 + len(MIGRATIONS)
"""The version that is written. All versions before it can be read."""


class ResultsError(Exception):
    """A result file that cannot be written or read. The message says which, where in it, and what to do."""


@dataclass(frozen=True)
class Results:
    """What a result file holds.

    Attributes:
        run: The header.
        records: One record per key, the latest, in the order in which the keys first appeared.
        warnings: What was wrong and tolerated: sentences that name the file.

    """

    run: Run
    records: tuple[Record, ...]
    warnings: tuple[str, ...] = ()


def read(path: Path) -> Results:
    """Read a journal or a `json:FILE` document. The content tells which it is.

    Raises:
        ResultsError: The file cannot be read, is neither, has a newer schema, or breaks the schema.

    """
    data = _content(path)
    first, *lines = data.split(b"\n")
    head = parsed_json(first)
    if isinstance(head, dict) and not {"records", "runs"} & head.keys():
        return _read_journal(path, head, lines)
    document = parsed_json(data)
    if isinstance(document, dict) and "runs" in document:
        raise ResultsError(f"{path}: holds several runs, which `inferena merge` joined; one is needed here")
    return _document(path, document)


def read_all(path: Path) -> tuple[Results, ...]:
    """Read all runs of a file: the one of a journal or a document, or those that `inferena merge` joined.

    Raises:
        ResultsError: As `read` does.

    """
    document = parsed_json(_content(path))
    if not isinstance(document, dict) or "runs" not in document:
        return (read(path),)
    if not isinstance(document["runs"], list):
        raise ResultsError(f"{path}: runs: expected a list")
    if not document["runs"]:
        raise ResultsError(f"{path}: holds no runs")
    parts = [{**part, "schema": document.get("schema")} for part in document["runs"] if isinstance(part, dict)]
    if len(parts) < len(document["runs"]):
        raise ResultsError(f"{path}: runs: expected objects with run and records")
    return tuple(_document(path, part) for part in parts)


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:  # whoever names a pipe wants it to be read
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise ResultsError(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > LARGEST:
        raise ResultsError(f"{path}: has over {LARGEST >> 20} MiB: no result file")
    return data


def _document(path: Path, document: Any) -> Results:
    if not isinstance(document, dict) or not isinstance(document.get("records"), list):
        raise ResultsError(f"{path}: holds neither a journal nor a results document of pytest-inferena")
    run = _checked_run(path, document)
    return Results(run, _latest_of_each(_checked(path, document["schema"], enumerate(document["records"], 1))))


def latest(folder: Path, accept: Callable[[Run], bool]) -> Results | None:
    """Read the latest of the journals whose headers are accepted; None if there is none.

    Journals that cannot be read are passed over. The warnings of the one that is returned name them.
    """
    passed_over: list[str] = []
    for path in journals(folder):
        try:
            found = read(path)
        except ResultsError as error:
            passed_over.append(f"passed over {error}")
            continue
        if accept(found.run):
            return replace(found, warnings=(*passed_over, *found.warnings))
    return None


def journals(folder: Path) -> list[Path]:
    """The journals in a folder, the newest first. What is no plain file, such as a pipe, is none."""
    dated = []
    for path in folder.glob("*.jsonl"):
        with suppress(OSError):  # a link to nothing
            status = path.stat()
            dated += [(status.st_mtime_ns, path)] if stat.S_ISREG(status.st_mode) else []
    return [path for _, path in sorted(dated, reverse=True)]


def _read_journal(path: Path, head: dict[str, Any], lines: list[bytes]) -> Results:
    run = _checked_run(path, head)
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    parsed = [(number, parsed_json(line)) for number, line in numbered]
    warnings: tuple[str, ...] = ()
    if parsed and parsed[-1][1] is None:
        number, _ = parsed.pop()
        warnings = (f"{path}: record {number}, the last, is torn and was left out; its cell must run again",)
    return Results(run, _latest_of_each(_checked(path, head["schema"], parsed)), warnings)


def _checked_run(path: Path, head: dict[str, Any]) -> Run:
    schema = head.get("schema")
    if type(schema) is not int or schema < 1:
        raise ResultsError(f"{path}: schema is {schema!r}, not a number from 1: no result file")
    if schema > SCHEMA:
        raise ResultsError(
            f"{path}: has schema {schema}, but this pytest-inferena reads up to {SCHEMA}; "
            "update it: pip install --upgrade pytest-inferena"
        )
    try:
        return typed(Run, _migrated(schema, "run", head.get("run")))
    except Fault as fault:
        raise ResultsError(f"{path}: run: {fault}") from None


def _checked(path: Path, schema: int, numbered: Iterable[tuple[int, Any]]) -> Iterable[Record]:
    for number, raw in numbered:
        if raw is None:
            raise ResultsError(f"{path}: record {number} is not JSON; remove its line to read the others")
        try:
            yield typed(Record, _migrated(schema, "record", raw))
        except Fault as fault:
            raise ResultsError(f"{path}: record {number}: {fault}") from None


def _migrated(schema: int, part: str, raw: Any) -> Any:
    """Values of an older schema as today's schema has them."""
    for migration in MIGRATIONS[schema - 1 :] if isinstance(raw, dict) else ():
        raw = migration(part, raw)
    return raw


def _latest_of_each(records: Iterable[Record]) -> tuple[Record, ...]:
    return tuple({record.key: record for record in records}.values())


def parsed_json(data: bytes) -> Any:
    """Parse JSON; None for whatever is none, and for nothing."""
    try:
        return json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
