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
    """A cell is done. Called once for each cell, with its record as the journal has it (see results.schema.json).

    Example:
        def pytest_inferena_record(record):
            if record["outcome"] == "fail":
                notify(record["reason"])
    """
