"""The worker protocol: one JSON object a line on two pipes. docs/worker-protocol.md is the page on it."""

from __future__ import annotations

import json
from typing import IO, Any

VERSION = 1
LIMIT = 1 << 20
"""Longest line in bytes."""


class ProtocolError(Exception):
    """The other side sent something that is no message."""


def send(stream: IO[bytes], message: dict[str, Any]) -> None:
    """Write one message.

    Raises:
        ProtocolError: it is longer than a line may be.
    """
    line = json.dumps(message, allow_nan=False).encode() + b"\n"
    if len(line) > LIMIT:
        raise ProtocolError(f"a message of {len(line)} bytes; a line holds {LIMIT}")
    stream.write(line)
    stream.flush()


def parse(line: bytes) -> dict[str, Any]:
    """Read one line as a message.

    Raises:
        ProtocolError: it is no JSON object.
    """
    try:
        message = json.loads(line)
    except ValueError as error:
        raise ProtocolError(f"not JSON: {line[:80]!r}") from error
    if not isinstance(message, dict):
        raise ProtocolError(f"not an object: {line[:80]!r}")
    return message
