"""Tests of what others import: the names of `pytest_inferena`, in pytest's process and in a worker's."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from tests.test_server import PYTHON, started

import pytest_inferena
from pytest_inferena import Entry, Exchange, Program, Setup, Unsupported, refuse, worker

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ", ".join(worker.__all__)
INSIDE = f"""
import importlib
from pytest_inferena import {NAMES}
from pytest_inferena.worker import Adapter as Same
import pytest_inferena.worker as room
SAME = Same is Adapter is room.Adapter

def missing(name):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        return name

class Adapter(Adapter):
    def load(self, program, weights):
        pass
    def describe(self):
        return " ".join([str(SAME), *filter(None, map(missing, (
            "pytest_inferena.plugin", "pytest_inferena.judge", "pytest_inferena.prepare")))])
"""
LIGHT = "import sys, pytest_inferena; print(*(name for name in sys.modules if name.startswith('pytest_inferena')))"


@pytest.mark.parametrize("name", pytest_inferena.__all__)
def test_every_public_name_is_there(name: str) -> None:
    """What is listed can be imported, and what the docstring does not tell is not listed."""
    assert getattr(pytest_inferena, name)
    assert f"`{name}`" in str(pytest_inferena.__doc__)


def test_another_name_is_an_attribute_error() -> None:
    """A name that is not public is refused as Python does."""
    with pytest.raises(AttributeError, match="module 'pytest_inferena' has no attribute 'nothing'"):
        _ = pytest_inferena.nothing  # type: ignore[attr-defined] # a type checker refuses it too


def test_nothing_is_imported_before_it_is_asked_for() -> None:
    """The package alone loads none of its rooms."""
    said = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True).stdout

    assert ["pytest_inferena"] == said.split()


def test_an_adapter_imports_from_the_package(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a worker the worker's names are the package's, too, and nothing else of the package can be reached."""
    client = started(PYTHON[0], INSIDE, tmp_path, cache, monkeypatch)
    said = client.hello()["ran"]
    client.worker.kill()

    assert "True pytest_inferena.plugin pytest_inferena.judge pytest_inferena.prepare" == said


class Reader(Exchange):
    """Reads a file for each entry."""

    def build(self, entry: Entry) -> Any:
        """Its content, in place of a step: none is run here."""
        return (self.exchange / f"{entry.name}.txt").read_text()


def _entry(name: str) -> Entry:
    return Entry(name, (), (), (), (), {})


def test_exchange_builds_what_was_written(tmp_path: Path) -> None:
    """An entry with a file is built from it; one that was refused is unsupported, with the reason as it was given."""
    (tmp_path / "inference.txt").write_text("made")
    refuse(tmp_path, "latency", Unsupported("no rows, node n: 3 × 4"))
    adapter = Reader(Setup("cpu", "cpu", 1, tmp_path, tmp_path))
    adapter.load(Program(tmp_path, "small", {}, frozenset()), {})

    assert "made" == str(adapter.compile(_entry("inference")))
    with pytest.raises(Unsupported, match=r"^no rows, node n: 3 × 4$"):
        adapter.compile(_entry("latency"))


def test_exchange_without_files(tmp_path: Path) -> None:
    """Where nothing was prepared loading says so."""
    with pytest.raises(ValueError, match="it runs exchange files and none were prepared"):
        Reader(Setup("cpu", "cpu", 1, tmp_path)).load(Program(tmp_path, "small", {}, frozenset()), {})
