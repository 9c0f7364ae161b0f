"""Turns JSON values into typed ones, and back. Errors name the field that does not fit."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

from msgspec import Struct, ValidationError, convert

from pytest_inferena.worker.strict import out_of_bounds

if TYPE_CHECKING:
    from collections.abc import Sequence

Kind = TypeVar("Kind", bound=Struct)

OTHERS = "others"
"""The field that keeps, unchanged, what a type does not list."""
ANY = "..."
"""How msgspec names a key of an object in the path to what is wrong."""
_WORDS = {"int": "integer", "float": "number", "str": "string"}
"""Names of Python's types, which msgspec uses → names of JSON's types."""


class Fault(ValueError):  # noqa: N818 - what is wrong, in words; readers raise the error that names the file
    """The first thing that is wrong with a value, as `field: what is wrong`."""


def typed(kind: type[Kind], raw: object) -> Kind:
    """Check JSON values against a type, and make an object of that type.

    Raises:
        Fault: The values do not fit, or are out of bounds.
    """
    if found := out_of_bounds(raw):
        raise Fault(found)
    try:
        return convert(_folded(kind, raw), kind)
    except ValidationError as error:
        raise Fault(_said(kind, raw, error)) from None


def plain(value: Struct) -> dict[str, Any]:
    """Give the JSON values of a record or header: its fields in their order, then the others."""
    fields = {name: getattr(value, name) for name in value.__struct_fields__}
    others: dict[str, Any] = fields.pop(OTHERS, {})
    return {name: _plain(field) for name, field in fields.items()} | others


def _plain(value: object) -> object:
    if isinstance(value, Struct):
        return plain(value)
    if isinstance(value, dict):  # foreign objects may be nested as deep as JSON's reader allows: they stay as they are
        return {name: list(item) if isinstance(item, tuple) else item for name, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, str) else value  # an outcome becomes a plain string


@cache
def parts(kind: type[Struct]) -> dict[str, type[Struct]]:
    """The fields whose values are objects of such a type too."""
    hints = get_type_hints(kind).items()
    inner = [(name, part) for name, hint in hints for part in (hint, *get_args(hint))]
    return {name: part for name, part in inner if isinstance(part, type) and issubclass(part, Struct)}


def _folded(kind: type[Struct], raw: object) -> object:
    """Put the fields that the type does not list under `others`."""
    if not isinstance(raw, dict):
        return raw
    names, inner = {*kind.__struct_fields__} - {OTHERS}, parts(kind)
    fields = {name: _folded(inner[name], value) if name in inner else value for name, value in raw.items()}
    known = {name: value for name, value in fields.items() if name in names}
    return known | {OTHERS: {name: value for name, value in fields.items() if name not in names}}


def _said(kind: type[Struct], raw: object, error: ValidationError) -> str:
    """The message of msgspec in JSON's words, with the field and the value that was found."""
    text, _, path = str(error).partition(" - at `$")
    steps = _resolved(kind, raw, error, re.findall(r"[^.\[\]`]+|\.{3}", path))
    where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")
    value = _at(raw, steps)
    if missing := re.fullmatch(r"Object missing required field `(\w+)`", text):
        return f"{where}.{missing[1]}: is missing".removeprefix(".")
    expected = _expected(kind, steps, text)
    if expected is None:  # what a type says of itself
        return f"{where}.{text}".removeprefix(".") if isinstance(value, dict) else f"{where}: {text}"
    found = f"{len(value)}" if isinstance(value, list | tuple) and "items" in expected else f"{value!r:.40}"
    named = f" ({type(value).__name__})" if ", got `" in text else ""
    return f"{where}: expected {expected}, found {found}{named}".removeprefix(": ")


def _expected(kind: type[Struct], steps: Sequence[str | int], text: str) -> str | None:
    if of_type := re.match(r"Expected `([^`]+)`, got `", text):
        words = [_WORDS.get(word, word) for word in of_type[1].split(" | ")]
        return " or ".join(word for word in words if word != "integer" or "number" not in words)
    if least := re.match(r"Expected `\w+` >= (.+)", text):
        return f"at least {float(least[1]):g}"
    if most := re.match(r"Expected `\w+` <= (.+)", text):
        return f"at most {float(most[1]):g}"
    if "matching regex" in text:
        return "a name of letters, digits, '.', '_' and '-'"
    if length := re.match(r"Expected `array` of length (\d+)", text):
        return f"{length[1]} items"
    if text.startswith("Invalid enum value"):
        return "one of " + ", ".join(repr(str(choice)) for choice in _choices(kind, steps))
    return None


def _choices(kind: type[Struct], steps: Sequence[str | int]) -> Sequence[object]:
    """The values that a field may have, if they are limited."""
    hint: Any = kind
    for step in steps:
        if isinstance(step, int):
            hint = get_args(hint)[0]  # arrays of choices have one type
            continue
        hints = (hint, *get_args(hint))
        hint = get_type_hints(next(one for one in hints if isinstance(one, type) and issubclass(one, Struct)))[step]
    return get_args(hint) or list(hint)


def _resolved(kind: type[Struct], raw: object, error: ValidationError, path: Sequence[str]) -> list[str | int]:
    """Find the keys that msgspec does not name. The wrong one, alone in its object, makes the same error."""
    steps: list[str | int] = []
    for step in path:
        if step != ANY:
            steps.append(int(step) if step.isdecimal() else step)
            continue
        inner = _at(raw, steps)
        steps.append(next(key for key in inner if _fails(kind, _with(raw, steps, {key: inner[key]}), error)))
    return steps


def _fails(kind: type[Struct], raw: object, error: ValidationError) -> bool:
    try:
        convert(_folded(kind, raw), kind)
    except ValidationError as other:
        return str(other) == str(error)
    return False


def _at(raw: Any, steps: Sequence[str | int]) -> Any:
    for step in steps:
        raw = raw[step]
    return raw


def _with(raw: Any, steps: Sequence[str | int], value: object) -> Any:
    """A copy with another value in one place."""
    if not steps:
        return value
    first, *rest = steps
    return {**raw, first: _with(raw[first], rest, value)}
