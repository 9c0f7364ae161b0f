"""What a run of pytest can benchmark: read when the first cell is collected, and again when more is registered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from pytest_inferena.collect.registry import HOOKS, Registry, collect
from pytest_inferena.collect.selection import parameters
from pytest_inferena.collect.settings import pairs
from pytest_inferena.collect.shipped import with_interpreters
from pytest_inferena.engines.framework import RegistryError

OFFER: pytest.StashKey[Offer] = pytest.StashKey()


@dataclass
class Offer:
    """The registry, as it was when a cell was last collected."""

    registry: Registry
    parameters: list[Any]
    sources: int
    """How many plugins and conftest.py register something."""
    error: str = ""
    """Why the registry cannot be read. Collection goes on, so that this is said once and not for every test."""


def offer(config: pytest.Config) -> Offer:
    """The registry of a run, with its markers declared.

    A conftest.py further down may register more when pytest gets there; that is for the cells from there on.
    """
    sources = sum(len(getattr(config.hook, name).get_hookimpls()) for name in HOOKS)
    found = config.stash.get(OFFER, None)
    if found is None or (found.sources != sources and not found.error):
        try:
            registry = with_interpreters(collect(config.pluginmanager), pairs("python", config))
            found = Offer(registry, parameters(config, registry), sources)
        except RegistryError as error:
            found = Offer(Registry({}, {}), [], sources, f"inferena: {error}")
        config.stash[OFFER] = found
    return found
