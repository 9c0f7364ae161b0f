"""Reads numbers that people give, by options, markers, names or variables, and says what is right where one is not."""

from __future__ import annotations

import contextlib

LONGEST = 10**7
"""The longest time that anybody can ask for, in seconds: nearly four months."""
_DIGITS = 18
"""More than any range has. Python refuses to read thousands of them."""
_SHOWN = 40
"""So much of a text stands in a message."""


class RangeError(ValueError):
    """A number that is none, or out of its range; the message has its name, what was given, and what is right."""


def whole(name: str, given: object, most: int, right: str = "", *, least: int = 1) -> int:
    """A whole number.

    Args:
        name: what has this value, as it was written: `--inferena-threads`.
        given: a text of decimal digits, or a number.
        most: the largest that is right.
        right: what is right, in words; "": the range.
        least: the smallest that is right.

    Raises:
        RangeError: it is something else.
    """
    text = given.strip() if isinstance(given, str) else ""
    found = int(text) if text.isascii() and text.isdecimal() and len(text) <= _DIGITS else given
    if type(found) is int and least <= found <= most:
        return found
    raise RangeError(f"{name}={_shown(given)}: {right or f'a whole number from {least} to {most} is expected'}")


def number(name: str, given: object, most: float, right: str) -> float:
    """A number over 0 that is no more than `most`; the arguments are those of `whole`. Infinity and NaN are none.

    Raises:
        RangeError: it is something else.
    """
    read = type(given) in {int, float} or (isinstance(given, str) and given.isascii())
    with contextlib.suppress(ValueError, OverflowError):
        found = float(given) if read else 0.0  # type: ignore[arg-type] # it is a number or text
        if 0 < found <= most:
            return found
    raise RangeError(f"{name}={_shown(given)}: {right}")


def seconds(name: str, given: object) -> float:
    """A time.

    Raises:
        RangeError: it is none, or too long.
    """
    return number(name, given, LONGEST, f"over 0 and at most {LONGEST} seconds")


def _shown(given: object) -> str:
    if isinstance(given, int) and given.bit_length() > 64:
        return f"a number of {given.bit_length()} bits"
    text = given if isinstance(given, str) else repr(given)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
