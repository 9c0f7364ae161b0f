"""Registers this repository's models and adapters, exactly as a third party would."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_inferena.plugin import cell

__all__ = ["cell"]  # here, so that somebody's own fixture `cell` in the folder above does not come before it

HERE = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    """Say what is missing where pytest runs without the plugin."""
    if not config.hook.pytest_inferena_models.has_spec():
        raise pytest.UsageError(
            f"{HERE}: these tests need the plugin inferena: without -p no:inferena, "
            "and beside PYTEST_DISABLE_PLUGIN_AUTOLOAD with -p pytest_inferena.plugin"
        )


@pytest.hookimpl(optionalhook=True)
def pytest_inferena_models() -> list[Path]:
    """Every file in `models/`."""
    return sorted(HERE.glob("models/[a-z]*.py"))


@pytest.hookimpl(optionalhook=True)
def pytest_inferena_adapters() -> list[Path]:
    """Every folder of `adapters/` with an adapter.toml, the baseline first, in a checkout and in the wheel."""
    folders = [file.parent for file in HERE.parent.glob("adapters/*/adapter.toml")]
    return sorted(folders, key=lambda folder: (folder.name != "pytorch", folder.name))
