"""The worker protocol: one JSON object a line, on two pipes. docs/worker-protocol.md describes it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pytest_inferena.worker import strict

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = 1
LIMIT = 1 << 20
"""The longest line in bytes, with its newline."""
KINDS = ("unsupported", "oom", "error")
"""The kinds of failure that a worker may answer with."""
TEXT = 4096
"""The longest text of an answer, in characters."""
LONGEST = 10**18
"""The longest duration in nanoseconds: 30 years. No other number is larger either."""
REPLIES: Mapping[str, Mapping[str, str]] = {
    "hello": {"protocol": "version", "versions": "strings", "ran": "string"},
    "load": {"ns": "duration"},
    "compile": {"ns": "duration", "ran": "string"},
    "measure": {
        "ns": "durations",
        "steps_per_sample": "count",
        "warmups": "whole",
        "few": "boolean",
        "cpu_per_wall": "number",
    },
    "outputs": {},
    "quit": {},
}
"""Fields of a good answer beside `ok`: field → kind of value."""
OPTIONAL: Mapping[str, Mapping[str, str]] = {
    "hello": {"operators": "object of conditions", "revision": "string"},
    "compile": {"fallback": "whole"},
}
"""Fields that a good answer may have."""


class ProtocolError(Exception):
    """The other side sent something that is no message."""


def encode(message: Mapping[str, Any]) -> bytes:
    """One message as a line.

    Raises:
        ProtocolError: it is longer than a line may be, or holds what JSON lacks.
    """
    try:
        line = json.dumps(message, allow_nan=False).encode() + b"\n"
    except (TypeError, ValueError) as error:
        raise ProtocolError(f"not a message: {error}") from error
    if len(line) > LIMIT:
        raise ProtocolError(f"a message of {len(line)} bytes; a line holds {LIMIT}")
    return line


def parse(line: bytes) -> dict[str, Any]:
    """Read one line as a message.

    Raises:
        ProtocolError: it is no JSON object, or too long.
    """
    if len(line) > LIMIT:
        raise ProtocolError(f"a line over {LIMIT} bytes")
    try:
        message = strict.parse(line)
    except strict.Unfit as error:
        raise ProtocolError(f"not JSON: {line[:80]!r}" if "no JSON" in str(error) else str(error)) from error
    if not isinstance(message, dict):
        raise ProtocolError(f"not an object: {line[:80]!r}")
    return message


def check(request: str, reply: Mapping[str, Any]) -> None:
    """Compare an answer with what the page says.

    Raises:
        ProtocolError: `ok` is missing, a field is missing or of the wrong kind, or the failure's kind is unknown.
    """
    if reply.get("ok") is False:
        if reply.get("kind") not in KINDS or not isinstance(reply.get("message"), str):
            raise ProtocolError(f"a failure has a kind ({', '.join(KINDS)}) and a message, not {_shown(reply)}")
    elif reply.get("ok") is not True:
        raise ProtocolError(f"'ok' is neither true nor false in {_shown(reply)}")
    else:
        for field, kind in REPLIES.get(request, {}).items():
            if field not in reply:
                raise ProtocolError(f"{field!r} is missing in {_shown(reply)}")
            if not _is(kind, reply[field]):
                raise ProtocolError(f"{field!r} is no {kind}: {reply[field]!r:.80}")
        for field, kind in OPTIONAL.get(request, {}).items():
            if reply.get(field) is not None and not _is(kind, reply[field]):
                raise ProtocolError(f"{field!r} is no {kind}: {reply[field]!r:.80}")


def check_durations(request: str, reply: Mapping[str, Any], elapsed: float) -> None:
    """Compare the durations of a good answer with the seconds that passed meanwhile.

    Raises:
        ProtocolError: they add up to more, so they are no durations in nanoseconds.
    """
    fields = {field: reply[field] for field in REPLIES.get(request, {}) if reply["ok"]}
    ns = fields.get("ns", 0)
    claimed = (sum(ns) if isinstance(ns, list) else ns) * fields.get("steps_per_sample", 1) * 1e-9
    if claimed > 1.01 * elapsed + 0.01:
        raise ProtocolError(f"durations of {claimed:.4g} s in an answer that took {elapsed:.4g} s")


def _shown(reply: Mapping[str, Any]) -> str:
    return json.dumps(reply)[:80]


def _is(kind: str, value: Any) -> bool:
    """Whether a value is of a kind. Booleans are not numbers here."""
    match kind:
        case "version":
            return type(value) is int and value == VERSION
        case "string":
            return isinstance(value, str) and len(value) <= TEXT
        case "strings":
            return isinstance(value, dict) and all(_is("string", item) for pair in value.items() for item in pair)
        case "boolean":
            return isinstance(value, bool)
        case "whole" | "count":
            return type(value) is int and (kind == "count") <= value <= LONGEST
        case "object of conditions":
            tables = list(value.values()) if isinstance(value, dict) else [None]
            return all(isinstance(table, dict) and all(map(_are_values, table.values())) for table in tables)
        case "durations":
            return isinstance(value, list) and bool(value) and all(_is("duration", item) for item in value)
    return type(value) in {int, float} and (value > 0 if kind == "duration" else value >= 0) and value <= LONGEST


def _are_values(values: Any) -> bool:
    """Whether these are values that an operator's condition may list."""
    scalars = (str, int, float, type(None))  # booleans are whole numbers here
    return isinstance(values, list) and all(
        isinstance(one, scalars) or (isinstance(one, dict) and isinstance(one.get("max"), int | float))
        for one in values
    )
