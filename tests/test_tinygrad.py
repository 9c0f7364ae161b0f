"""The adapter of tinygrad: its tuned backend searches for kernels, anew in every worker, and computes the same."""

from __future__ import annotations

import dataclasses
import sqlite3
from typing import TYPE_CHECKING

import pytest
from tests.conformance import Engine, client, engines, prepare

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def beam() -> Engine:
    """The engine with the backend that searches."""
    found = engines()["tinygrad"]
    (backend,) = (backend for backend in found.framework.backends if backend.tuned)
    if reason := found.framework.missing(backend):
        pytest.skip(reason)
    return dataclasses.replace(found, backend=backend)


def test_the_tuned_backend_searches(beam: Engine, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it found lies in the worker's own folder, so that the next one searches again; the result is golden."""
    monkeypatch.setenv("INFERENA_CACHE", str(cache))
    with client(beam, prepare(beam), tmp_path / "worker") as worker:
        worker.hello()
        worker.load()
        worker.ask("compile", entry="latency")
        with sqlite3.connect(worker.folder / "scratch" / "tinygrad.db") as database:
            tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master")]

        assert "pass" == worker.verdict("latency")
    assert any(name.startswith("beam_search") for name in tables)
