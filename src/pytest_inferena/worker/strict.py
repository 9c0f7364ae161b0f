"""Reads JSON that comes from outside of a process, of a limited depth and range.

A reply, a header of tensors, a manifest, a journal, a result file: whoever wrote it may have been wrong, or malicious.
Every check looks at each value once, and none of them recurses.
"""

from __future__ import annotations

import json
import math
from typing import Any, TypeAlias

_Place: TypeAlias = "tuple[()] | tuple[_Place, object, int]"
"""The place of the object around a value, the value's name in it, and how deep it is."""

DEPTH = 64
"""How deep lists and objects may be nested."""
WHOLE = 2**63
"""Whole numbers lie below, and above its negative."""


class Unfit(ValueError):  # noqa: N818 - what is wrong, in words; readers raise the error that names the file
    """What was read is not what may be there. The message says why."""


def parse(text: bytes | str) -> Any:
    """JSON's values.

    Raises:
        Unfit: it is no JSON, or one of its values is out of bounds.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise Unfit(f"is JSON nested over {DEPTH} deep") from None
    except ValueError as error:
        raise Unfit(f"is no JSON: {error}") from None
    if found := out_of_bounds(value):
        raise Unfit(found)
    return value


def out_of_bounds(raw: object) -> str:
    """The first value that no reader has to expect: NaN, infinity, a huge number, deep nesting; "" if there is none."""
    ahead: list[tuple[_Place, object]] = [((), raw)]
    while ahead:
        place, value = ahead.pop()
        if isinstance(value, float) and not math.isfinite(value):
            return f"{_field(place)}: is {value}, which JSON has no number for; write null".removeprefix(": ")
        if isinstance(value, int) and not -WHOLE < value < WHOLE:
            return f"{_field(place)}: is a whole number of {value.bit_length()} bits, over 63".removeprefix(": ")
        if isinstance(value, list | tuple | dict):
            depth = place[2] if place else 0
            if depth == DEPTH:
                return f"{_field(place):.80}: is nested over {DEPTH} deep"
            items = value.items() if isinstance(value, dict) else enumerate(value)
            ahead += [((place, name, depth + 1), item) for name, item in reversed([*items])]
    return ""


def _field(place: _Place) -> str:
    """`records.3.median`."""
    names = []
    while place:
        place, name, _ = place
        names.append(str(name))
    return ".".join(reversed(names))
