"""The marker `inferena`, and what tests get wrong about it and our fixtures: one message for each, at collection."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

KINDS: dict[str, Any] = {
    "model": (str, Path), "framework": str, "metric": str, "size": str, "weights": (str, Path), "threads": int,
    "batch": int, "seq": int, "inputs": str,
}  # fmt: skip
"""What a test can choose, and the types of a choice."""


class ChoiceError(ValueError):
    """A test that chooses something that is not there; the message says what there is."""


def refuse(metafunc: pytest.Metafunc) -> None:
    """Fail the collection of a test that could not do what it says."""
    test = metafunc.definition
    try:
        if "_inferena_own" in metafunc.fixturenames:
            marked(test)
        elif any(mark.name == "inferena" for mark in test.own_markers):
            raise ChoiceError(
                "the marker inferena does nothing without the fixture of that name: add it as an argument"
            )
    except ChoiceError as error:
        pytest.fail(f"{test.nodeid}: {error}", pytrace=False)


def is_own(item: pytest.Item) -> bool:
    """Whether a test takes the fixture `inferena`, itself or by another fixture."""
    return "_inferena_own" in getattr(item, "fixturenames", ())


def marked(node: pytest.Item) -> dict[str, Any]:
    """What the markers `inferena` of a test say; the nearest counts.

    Raises:
        ChoiceError: one of them has an argument that it does not know.
    """
    found: dict[str, Any] = {}
    for mark in reversed([*node.iter_markers("inferena")]):
        if mark.args:
            raise ChoiceError(f"the marker inferena takes arguments by name, such as model={mark.args[0]!r}")
        for name, value in mark.kwargs.items():
            check(name, value, "the marker inferena")
        found |= mark.kwargs
    return found


def check(name: str, value: Any, whose: str) -> None:
    """Check one choice.

    Raises:
        ChoiceError: there is nothing of that name to choose, or the value is of the wrong type.
    """
    if name not in KINDS:
        raise ChoiceError(f"{whose} has no argument {name!r}; {nearest(name, KINDS)}there are {', '.join(KINDS)}")
    if isinstance(value, list | tuple | set):
        raise ChoiceError(
            f"{whose}: {name} is one, not several; for several tests write @pytest.mark.parametrize({name!r}, […])"
        )
    if not isinstance(value, KINDS[name]) or isinstance(value, bool):
        what = "a number" if KINDS[name] is int else "text"
        raise ChoiceError(f"{whose}: {name} is {value!r}, not {what}; name it in the call if this means something else")


def nearest(name: str, known: Any) -> str:
    """A hint at what may have been meant; "" if nothing is like it."""
    import difflib

    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]!r}? " if near else ""
