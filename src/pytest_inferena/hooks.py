"""What others can implement, in a conftest.py or a plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.hookspec
def pytest_inferena_models() -> list[Path]:  # type: ignore[empty-body] # a specification has no body
    """Model files to benchmark; what such a file holds is told in CONTRIBUTING.

    Example:
        def pytest_inferena_models():
            return [Path(__file__).parent / "my_model.py"]
    """


@pytest.hookspec
def pytest_inferena_adapters() -> list[Path]:  # type: ignore[empty-body] # a specification has no body
    """Folders of adapters, each with its adapter.toml; what such a folder holds is told in CONTRIBUTING.

    Example:
        def pytest_inferena_adapters():
            return [Path(__file__).parent / "my_engine"]
    """


@pytest.hookspec
def pytest_inferena_record(record: dict[str, Any]) -> None:
    """A cell is done; its record as it goes into the journal (see results.schema.json). Called once a cell.

    Example:
        def pytest_inferena_record(record):
            if record["outcome"] == "fail":
                notify(record["reason"])
    """
