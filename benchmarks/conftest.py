"""Registers this repository's models and adapters, exactly as a third party would."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent


def pytest_inferena_models() -> list[Path]:
    """Every file in `models/`."""
    return sorted(HERE.glob("models/[a-z]*.py"))


def pytest_inferena_adapters() -> list[Path]:
    """Every folder of `adapters/` with an adapter.toml, the baseline first, in a checkout and in the wheel."""
    folders = [file.parent for file in HERE.parent.glob("adapters/*/adapter.toml")]
    return sorted(folders, key=lambda folder: (folder.name != "pytorch", folder.name))
