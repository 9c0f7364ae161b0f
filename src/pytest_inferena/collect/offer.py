"""What a run of pytest can benchmark: read when the first cell is collected, and again when more is registered."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_inferena.collect.registry import HOOKS, Registry, collect
from pytest_inferena.collect.selection import parameters
from pytest_inferena.collect.settings import counts, kinds_of_inputs, pairs
from pytest_inferena.collect.shipped import with_interpreters
from pytest_inferena.collect.source import Source
from pytest_inferena.engines.framework import RegistryError

if TYPE_CHECKING:
    from pathlib import Path

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


def given(config: pytest.Config) -> list[Source]:
    """The models of --inferena-model, and those of the ini file, whose paths begin in its folder.

    Raises:
        RegistryError: one is no source.
    """
    beside = config.inipath.parent if config.inipath else config.rootpath
    listed = [source_of("inferena_models", text, beside) for text in config.getini("inferena_models")]
    said = config.option.inferena_model or ()
    return listed + [source_of("--inferena-model", text, config.invocation_params.dir) for text in said]


def source_of(where: str, text: str, folder: Path) -> Source:
    """What a user says at a place, such as an option.

    Raises:
        RegistryError: it is no source.
    """
    try:
        return Source.parse(text, folder)
    except ValueError as error:
        raise RegistryError(f"{where}: {error}") from error


def offer(config: pytest.Config) -> Offer:
    """The registry of a run, with its markers declared.

    A conftest.py further down may register more when pytest gets there; that is for the cells from there on.
    """
    sources = sum(len(getattr(config.hook, name).get_hookimpls()) for name in HOOKS)
    found = config.stash.get(OFFER, None)
    if found is None or (found.sources != sources and not found.error):
        try:
            registry = with_interpreters(collect(config.pluginmanager, given(config)), pairs("python", config))
            registry = replace(
                registry, batches=counts("batch", config), seqs=counts("seq", config), inputs=kinds_of_inputs(config)
            )
            found = Offer(registry, parameters(config, registry), sources)
        except RegistryError as error:
            found = Offer(Registry({}, {}), [], sources, f"inferena: {error}")
        config.stash[OFFER] = found
    return found
