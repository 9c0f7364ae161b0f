"""The JSON Schema of result files, made from the types. `python -m pytest_inferena.results.schema` writes it."""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import re
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.json import schema_components

from pytest_inferena.results.reading import SCHEMA
from pytest_inferena.results.record import Record, Run, VerdictFigures
from pytest_inferena.results.typed import OTHERS, parts

FILE = Path(__file__).with_name("results.schema.json")
NAMES = {VerdictFigures.__name__: "verdict"}
"""Definitions whose names are not those of their types."""
ABOUT = (
    "A results document. A journal holds the same, one JSON object a line: first {schema, run} ($defs/header), then "
    "the records ($defs/record). Fields that are not listed are allowed and kept."
)


def render() -> str:
    """The whole schema, as the package ships it."""
    version, records = {"const": SCHEMA}, {"type": "array", "items": _ref("record")}
    run = {"schema": version, "run": _ref("run")}
    several = {"type": "array", "items": _object("", run=_ref("run"), records=records)}
    about = "Several runs, as `inferena merge` writes them, the oldest first."
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"pytest-inferena results, schema {SCHEMA}",
        **_object(ABOUT, **run, records={**records, "description": "One record per key."}),
        "$defs": {
            "history": _object(about, schema=version, runs=several),
            "header": _object("First line of a journal.", **run),
            **_definitions(),
        },
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _object(description: str, **properties: Any) -> dict[str, Any]:
    said = {"description": description} if description else {}
    return {**said, "type": "object", "required": [*properties], "properties": properties}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/$defs/{name}"}


def _definitions() -> dict[str, Any]:
    """Every type by its name. Each field has the words that stand below it in the source."""
    _, made = schema_components([Run, Record], ref_template="#/$defs/{name}")
    text = re.sub(r"(?<=#/\$defs/)\w+", lambda name: _name(name[0]), json.dumps(made))
    definitions = {_name(name): _tidy(definition) for name, definition in json.loads(text).items()}
    kinds: list[type[Struct]] = [Run, Record, *parts(Run).values(), *parts(Record).values()]
    for kind in kinds:
        properties = definitions[_name(kind.__name__)]["properties"]
        for field, words in _words(kind).items():
            properties[field] = {"description": words, **properties[field]}
    return definitions


def _name(of_type: str) -> str:
    return NAMES.get(of_type, of_type.lower())


def _tidy(rule: Any) -> Any:
    """A type's schema without the field for what is not listed. Numbers of both kinds, or null, are one type."""
    if isinstance(rule, list):
        return [_tidy(one) for one in rule]
    if not isinstance(rule, dict):
        return rule
    tidy = {name: _tidy(one) for name, one in rule.items() if name not in {"title", OTHERS}}
    several = tidy.pop("anyOf", [])
    several = [one for one in several if one.get("type") != "integer" or {**one, "type": "number"} not in several]
    if several and all("type" in one for one in several):
        first, *rest = several
        return {**first, **({"type": [first["type"], *(one["type"] for one in rest)]} if rest else {}), **tidy}
    return {**({"anyOf": several} if several else {}), **tidy}


def _words(kind: type[Struct]) -> dict[str, str]:
    """The words below each field of a type, and below those that it inherits."""
    found = {}
    for one in reversed(kind.__mro__[: kind.__mro__.index(Struct)]):
        (body,) = ast.parse(inspect.getsource(one)).body
        assert isinstance(body, ast.ClassDef)  # noqa: S101 - it is a type's source
        for field, below in itertools.pairwise(body.body):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                    found[name] = " ".join(words.split())
    return found


if __name__ == "__main__":
    FILE.write_text(render(), encoding="utf-8")
