"""Tests of the Python worker: what it imports, whose outputs it gives, what it says when it cannot."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING

import pytest
from safetensors.numpy import load_file
from tests.conformance import PYTHON_WORKER, Client, Engine, engines, prepare

from pytest_inferena.processes.client import WorkerFailed
from pytest_inferena.worker.loading import load_adapter

if TYPE_CHECKING:
    from pathlib import Path

COUNTING = """
import sys
import numpy as np
from pytest_inferena.worker import Adapter as Base

class Adapter(Base):
    def load(self, program, weights):
        print("loading", flush=True)
    def compile(self, entry):
        return Step()

class Step:
    runs = 0
    def __call__(self):
        print('{"ok": false}', flush=True)
        sys.stdin.read()
        self.runs += 1
    def synchronize(self):
        pass
    def outputs(self):
        return {"runs": np.asarray(self.runs)}
"""
SPYING = """
import sys
from pathlib import Path
from pytest_inferena.worker.loading import load_adapter
real = load_adapter("real", Path({file!r}))

class Adapter(real.Adapter):
    def describe(self):
        return " ".join(sorted({{name.split(".")[0] for name in sys.modules}}))
"""
PYTHON = [name for name, engine in engines().items() if engine.python]


def started(name: str, source: str, folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    """A worker of an engine whose adapter is replaced; greeted, loaded, its inference compiled."""
    monkeypatch.setenv("INFERENA_CACHE", str(cache))
    engine: Engine = engines()[name]
    if reason := engine.framework.missing(engine.backend):
        pytest.skip(reason)
    file = folder / "adapter.py"
    file.write_text(source.format(file=str(engine.framework.adapter)) if source is SPYING else source)
    prepared = prepare(engine)
    command = (sys.executable, str(PYTHON_WORKER), engine.framework.name, str(file))
    client = Client(dataclasses.replace(engine, command=command), prepared, folder / "worker")
    client.hello()
    client.load()
    return client


@pytest.mark.parametrize("name", PYTHON)
def test_worker_imports_neither_pytest_nor_torch(
    name: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An adapter's process has its framework and the worker package; torch where adapter.toml gives the reason."""
    client = started(name, SPYING, tmp_path, cache, monkeypatch)
    modules = set(client.ask("compile", entry="inference")["ran"].split())
    client.worker.kill()
    forbidden = {"pytest", "_pytest", "pluggy"} | (set() if client.engine.framework.needs_torch else {"torch"})

    assert {"numpy", "pytest_inferena"} <= modules
    assert set() == modules & forbidden


@pytest.mark.parametrize("loop", [{"min_rounds": 1, "max_rounds": 1, "warmup": False}, {"min_rounds": 12}])
def test_outputs_are_those_of_the_last_timed_step(
    loop: dict[str, int], tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing runs between the last sample and the outputs, whatever steps print and read."""
    client = started(PYTHON[0], COUNTING, tmp_path, cache, monkeypatch)
    client.ask("compile", entry="inference")
    timing = client.ask("measure", entry="inference", loop=loop)
    client.ask("outputs", entry="inference", file=str(tmp_path / "out"))
    client.worker.kill()

    steps = 1 + timing["warmups"] + timing["steps_per_sample"] * len(timing["ns"])
    assert steps == int(load_file(tmp_path / "out")["runs"])


def test_answer_that_is_too_long_is_an_error(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More samples than a line holds are refused in words, and the worker lives on."""
    client = started(PYTHON[0], COUNTING, tmp_path, cache, monkeypatch)
    client.ask("compile", entry="inference")
    loop = {"min_rounds": 300_000, "warmup": False}
    with pytest.raises(WorkerFailed, match=r"the answer is a message of \d+ bytes; a line holds 1048576"):
        client.ask("measure", entry="inference", loop=loop)

    assert [] != client.ask("measure", entry="inference", loop={"warmup": False})["ns"]
    client.worker.kill()


def test_files_beside_an_adapter_are_its_package(tmp_path: Path) -> None:
    """Those of two engines with a file of one name stay apart, nothing of a folder is on sys.path, loading is anew."""
    for engine in ("one", "two"):
        folder = tmp_path / engine
        folder.mkdir()
        (folder / "adapter.py").write_text("from . import table\nfrom .table import OPERATORS\n")
        (folder / "table.py").write_text(f"from .adapter import __name__ as asked\nOPERATORS = [{engine!r}]\n")
    before = list(sys.path)
    one, two, again = (load_adapter(name, tmp_path / name / "adapter.py") for name in ("one", "two", "one"))

    assert [["one"], ["two"]] == [one.OPERATORS, two.OPERATORS]
    assert "pytest_inferena_adapter_one.adapter" == one.table.asked
    assert one.OPERATORS is not again.OPERATORS
    assert before == sys.path


def test_a_dot_in_an_engines_name_is_no_package(tmp_path: Path) -> None:
    """Names may have dots, which Python would read as folders."""
    (tmp_path / "adapter.py").write_text("from .table import x\n")
    (tmp_path / "table.py").write_text("x = 1\n")

    assert 1 == load_adapter("engine.2.0", tmp_path / "adapter.py").x
