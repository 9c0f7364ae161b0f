"""Tests of docs/worker-protocol.md: it says what the code does."""

from __future__ import annotations

import ast
import inspect
import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from pytest_inferena.collect.settings import DEADLINES
from pytest_inferena.processes.client import GRACE, THREADS
from pytest_inferena.worker import protocol
from pytest_inferena.worker.server import Server
from pytest_inferena.worker.timing import Loop

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "worker-protocol.md").read_text(encoding="utf-8")
DIALOGUE = re.findall(r"^([→←]) (.*)$", PAGE, re.MULTILINE)
SENT = [f"src/pytest_inferena/{name}.py" for name in ("session/bench", "session/starting", "processes/client")]


def section(request: str) -> str:
    """The part of the page on a request."""
    return re.split(r"^##", PAGE.split(f"\n### {request} (", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def sent() -> dict[str, set[str]]:
    """Request → fields, from every call that asks a worker."""
    found: dict[str, set[str]] = {}
    for name in SENT:
        for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called, *rest = [node.func, *node.args]
            if isinstance(called, ast.Name) and called.id == "partial":
                called, *rest = rest
            asks = isinstance(called, ast.Attribute) and called.attr in {"ask", "_ask"}
            if asks and isinstance(rest[0], ast.Constant):
                found.setdefault(str(rest[0].value), set()).update(str(key.arg) for key in node.keywords)
    return found


def test_every_request_is_sent_and_answered() -> None:
    """Client, server, table of answers and page have the same requests."""
    assert set(sent()) == set(protocol.REPLIES) == set(Server("", Path(), []).requests)
    assert list(protocol.REPLIES) == re.findall(r"^### (\w+) \(", PAGE, re.MULTILINE)


@pytest.mark.parametrize("request_name", protocol.REPLIES)
def test_fields_stand_on_the_page(request_name: str) -> None:
    """Every field that the client sends, the server takes or the answer holds is in a table of the request."""
    taken = set(inspect.signature(getattr(Server, request_name)).parameters) - {"self"}
    rows = set(re.findall(r"^\| `(\w+)` \|", section(request_name), re.MULTILINE))

    assert sent()[request_name] == taken
    assert taken | set(protocol.REPLIES[request_name]) <= rows


def test_page_has_no_field_that_the_code_lacks() -> None:
    """A field on the page is one of a request, an answer or the loop."""
    rows = {row for name in protocol.REPLIES for row in re.findall(r"^\| `(\w+)` \|", section(name), re.MULTILINE)}
    known = {field for taken in sent().values() for field in taken} | {field.name for field in fields(Loop)}

    replies = [*protocol.REPLIES.values(), *protocol.OPTIONAL.values()]
    assert rows <= known | {field for reply in replies for field in reply} | {"revision"}


def test_loops_fields_and_defaults_stand_on_the_page() -> None:
    """Each field of the loop has a row with its default."""
    rows = re.findall(r"^\| `(\w+)` \| \w+ \| (\S+) \|", section("measure"), re.MULTILINE)

    assert {field.name: json.dumps(field.default) for field in fields(Loop)} == dict(rows)


@pytest.mark.parametrize("request_name", [*protocol.REPLIES])
def test_deadlines_stand_on_the_page(request_name: str) -> None:
    """The heading of a request gives its deadline."""
    assert f"### {request_name} ({(DEADLINES | {'quit': GRACE})[request_name]:g} s" in PAGE


@pytest.mark.parametrize(
    "word", [*protocol.KINDS, *THREADS, "INFERENA_READ_FD", "INFERENA_WRITE_FD", str(protocol.LIMIT)]
)
def test_words_stand_on_the_page(word: str) -> None:
    """Kinds of failure, variables and the limit are named."""
    assert re.search(rf"\b{word}\b", PAGE)


def test_example_keeps_to_the_protocol() -> None:
    """The example's lines are messages, in turn, of every request, and the answers hold what they must."""
    messages: list[dict[str, Any]] = [protocol.parse(line.encode()) for _, line in DIALOGUE]

    assert ["→", "←"] * (len(DIALOGUE) // 2) == [arrow for arrow, _ in DIALOGUE]
    assert set(protocol.REPLIES) == {message["request"] for message in messages[::2]}
    for request, reply in zip(messages[::2], messages[1::2], strict=True):
        protocol.check(request["request"], reply)
        assert {"request", *sent()[request["request"]]} == set(request)
