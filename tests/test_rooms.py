"""Tests of the drawing of the house: it is what the code is."""

from __future__ import annotations

import graphlib
import importlib.util
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[1] / "docs" / "rooms.py"


@pytest.fixture(scope="module")
def rooms() -> Any:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("rooms", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_contributing_shows_the_rooms_as_they_are(rooms: Any) -> None:
    """CONTRIBUTING has the drawing that the script makes of today's imports and docstrings; else: make rooms."""
    (shown,) = rooms.PLACE.findall(rooms.PAGE.read_text(encoding="utf-8"))

    assert rooms.drawing(rooms.arrows()) == shown


def test_the_drawing_has_every_folder(rooms: Any) -> None:
    """A new package stands in the drawing without being entered anywhere."""
    folders = {path.parent.name for path in rooms.PACKAGE.glob("*/__init__.py")}

    assert folders <= rooms.arrows().keys()


def test_rooms_lie_above_what_they_use(rooms: Any) -> None:
    """Layers are counted from below, and rooms that use each other have none."""
    assert {"a": 1, "b": 2, "c": 3} == rooms.layers({"a": set(), "b": {"a"}, "c": {"a", "b"}})
    with pytest.raises(graphlib.CycleError):
        rooms.layers({"a": {"b"}, "b": {"a"}})
