"""Five ordinary tests of somebody who has named fixtures as ours are."""

from __future__ import annotations

import pytest


@pytest.fixture
def worker() -> str:
    """No process."""
    return "own worker"


@pytest.fixture
def cell(worker: str) -> list[str]:
    """No benchmark."""
    return [worker]


@pytest.fixture(scope="session")
def target() -> str:
    """Nothing that is measured."""
    return "own target"


@pytest.fixture
def model(target: str) -> list[str]:
    """No network."""
    return [target]


@pytest.fixture
def framework() -> str:
    """No engine."""
    return "own framework"


def test_worker(worker: str) -> None:
    """Its own."""
    assert worker == "own worker"


def test_cell(cell: list[str]) -> None:
    """Its own, made of its own."""
    assert cell == ["own worker"]


def test_target(target: str) -> None:
    """Its own, of the session."""
    assert target == "own target"


def test_model(model: list[str]) -> None:
    """Its own, made of one of the session."""
    assert model == ["own target"]


def test_framework(framework: str) -> None:
    """Its own."""
    assert framework == "own framework"
