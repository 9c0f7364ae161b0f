"""What tests share: a cache that is filled once, and a user's project."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.projects import Project

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _no_outer_xdist(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs inside tests are no workers of the run outside, even where that uses xdist."""
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what is prepared; every model of the tests is prepared once in it."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def project(pytester: pytest.Pytester, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project of a user; its preparers and workers use the tests' cache."""
    monkeypatch.setenv("INFERENA_CACHE", str(cache))
    return Project(pytester)
