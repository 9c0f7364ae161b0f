"""What others can implement, in a conftest.py or a plugin.

Models and adapters are asked for when pytest collects the first cell. Paths are absolute.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.hookspec
def pytest_inferena_models() -> list[Path]:  # type: ignore[empty-body] # a specification has no body
    """Files of models to benchmark; CONTRIBUTING says what such a file holds.

    Example:
        def pytest_inferena_models():
            return [Path(__file__).parent / "my_model.py"]
    """


@pytest.hookspec
def pytest_inferena_adapters() -> list[Path]:  # type: ignore[empty-body] # a specification has no body
    """Folders of adapters, each with its adapter.toml; CONTRIBUTING says what such a folder holds.

    Example:
        def pytest_inferena_adapters():
            return [Path(__file__).parent / "my_engine"]
    """


@pytest.hookspec
def pytest_inferena_record(record: dict[str, Any]) -> None:
    """A cell is done. Called with its record as the journal has it (see results.schema.json).

    It is called again for the same cell where something changes its record: a further attempt, or an error in teardown.
    What it raises is told below the tables, and ends nothing.

    Example:
        def pytest_inferena_record(record):
            if record["outcome"] == "fail":
                notify(record["reason"])
    """
