"""What tests share: a cache that is filled once, a user's project, and workers that are killed at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests import processors
from tests.processors import all_processors
from tests.projects import Project
from tests.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytest_inferena.processes.client import Worker

__all__ = ["all_processors"]

collect_ignore = ["projects"]
"""Suites of users: tests run them in folders of their own."""


def pytest_configure() -> None:
    """Spread workers of pytest-xdist over the processors."""
    processors.take_one()


@pytest.fixture(autouse=True)
def _no_outer_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs inside tests are no workers of the run outside, even where that uses xdist."""
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)


@pytest.fixture(scope="session", autouse=True)
def _own_locks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """They wait for no other run, fixtures of modules included: one cell may compile for ten minutes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INFERENA_LOCKS", str(tmp_path_factory.getbasetemp()))
        yield


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what is prepared; every model of the tests is prepared once in it."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def project(pytester: pytest.Pytester, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project of a user; its preparers and workers use the tests' cache."""
    monkeypatch.setenv("INFERENA_CACHE", str(cache))
    return Project(pytester)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """Starts a worker that runs some Python after its first request has come."""
    workers = Workers(tmp_path)
    yield workers.start
    workers.kill()
