"""Real architectures in small: a table for each kind, whose rows are callables that make a model.

As a plugin, `-p tests.panel`, it registers them beside this project's engines; `make panel` runs them so. One alone is
`--inferena-model=tests.panel.text:bert`.
"""

from __future__ import annotations

import importlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

TABLES = ("text", "generation", "translation", "vision", "sound", "timm", "torchvision", "diffusers", "torch_nn")
"""Modules of this package."""


def rows(table: str) -> Mapping[str, partial[Any]]:
    """What a table makes, by name. No library is imported."""
    module = importlib.import_module(f"{__name__}.{table}")
    return {name: row for name, row in vars(module).items() if isinstance(row, partial)}


def pytest_inferena_models() -> list[str]:
    """Every row, as a callable that has the table before its name."""
    return [f"{table}_{name}={__name__}.{table}:{name}" for table in TABLES for name in rows(table)]


def pytest_inferena_adapters() -> list[Path]:
    """The engines of this repository, the baseline first."""
    folders = [file.parent for file in Path(__file__).parents[2].glob("adapters/*/adapter.toml")]
    return sorted(folders, key=lambda folder: (folder.name != "pytorch", folder.name))
