"""Tests of kernels that are kept: each processor's apart, one worker's at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_inferena.store import kernels as store

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own."""
    monkeypatch.setenv("INFERENA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_kernels_are_one_processors(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that machines share holds those of each apart: they are compiled for its instruction sets."""
    here = store.Kernels("fake", ["1.2"]).folder
    monkeypatch.setattr(store, "instruction_sets", lambda: "flags: none of these")

    assert here != store.Kernels("fake", ["1.2"]).folder
    assert here.is_relative_to(cache)


def test_kernels_are_one_workers() -> None:
    """A second worker gets none while the first has them, and none that the first left half-written."""
    first, second = store.Kernels("fake", ["1.2"]), store.Kernels("fake", ["1.2"])
    kernels = first.take()
    assert kernels is not None
    kernels.joinpath("kernel").touch()

    assert second.take() is None
    second.give_back(whole=True)  # it has nothing to give
    first.give_back(whole=True)
    assert kernels == second.take()
    assert kernels.joinpath("kernel").exists()
    second.give_back(whole=False)
    assert kernels == first.take()
    assert not kernels.joinpath("kernel").exists()
    first.give_back(whole=True)
