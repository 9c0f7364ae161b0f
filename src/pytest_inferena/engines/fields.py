"""Makes a dataclass of a table of TOML. Its errors name the field, in the words of TOML."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Kind = TypeVar("Kind")

WORDS = {str: "a string", bool: "a boolean", int: "an integer", float: "a float", list: "an array", dict: "a table"}
"""What TOML calls the types that Python reads it as."""
KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "str | None": (str,),
    "bool": (bool,),
    "Path": (Path,),
    "Mapping[str, str]": (dict, str),
    "Mapping[str, float]": (dict, int, float),
    "tuple[str, ...]": (list, str),
}
"""Annotation of a field → the type of its value, then the types of its items. Other fields are given to `build`."""


class FieldError(ValueError):
    """A field that is missing, unknown or of the wrong type; the message says which."""


def build(kind: type[Kind], document: Any, **built: Any) -> Kind:
    """Make a frozen dataclass of a table; arrays become tuples.

    Args:
        kind: a dataclass whose annotations are strings.
        document: what TOML says.
        built: fields that the table does not have, or that were made of it already.

    Raises:
        FieldError: a field is missing, unknown or of the wrong type.
    """
    if not isinstance(document, dict):
        raise FieldError(f"{_word(document)}, not a table")
    fields: Mapping[str, Any] = getattr(kind, "__dataclass_fields__", {})
    known = [name for name in fields if name not in built]
    for key, value in document.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            raise FieldError(f"unknown field {key!r}; {hint}")
        _check(key, value, fields[key].type)
    tuples = {key: tuple(value) if isinstance(value, list) else value for key, value in document.items()}
    try:
        return kind(**tuples, **built)
    except TypeError as error:
        missing = re.findall(r"'(\w+)'", str(error))
        raise FieldError(f"missing {', '.join(missing)}") from error


def _check(key: str, value: Any, annotation: str) -> None:
    outer, *inner = KINDS[annotation]
    given: type = type(value)
    if given is not outer:
        raise FieldError(f"{key} is {_word(value)}, not {WORDS[outer]}")
    if not inner:
        return
    items: Iterable[tuple[str, Any]] = value.items() if outer is dict else (("an item", item) for item in value)
    for name, item in items:
        if type(item) not in inner:
            wanted = "a number" if len(inner) > 1 else WORDS[inner[0]]
            raise FieldError(f"{key}: {name} is {_word(item)}, not {wanted}")


def _word(value: Any) -> str:
    return WORDS.get(type(value), type(value).__name__)
