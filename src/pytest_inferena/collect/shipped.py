"""The engines that this project brings along, for tests that name one although nobody has registered it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_inferena.collect.arguments import BENCHMARKS
from pytest_inferena.collect.registry import Registry
from pytest_inferena.engines.framework import Framework

if TYPE_CHECKING:
    from collections.abc import Mapping


ADAPTERS = BENCHMARKS.parent / "adapters"
"""Their folders, in a checkout and in the wheel."""


def with_shipped(registry: Registry, pythons: Mapping[str, str]) -> Registry:
    """The same registry, and behind it those of this project's engines that it lacks.

    Args:
        registry: what is registered.
        pythons: other interpreters for the workers of some of them, as in `Registry.with_interpreters`.

    Raises:
        RegistryError: there is no such engine, or no such interpreter.
    """
    folders = sorted(file.parent for file in ADAPTERS.glob("*/adapter.toml"))
    others = {folder.name: Framework.read(folder) for folder in folders if folder.name not in registry.frameworks}
    return Registry(registry.models, {**registry.frameworks, **others}).with_interpreters(pythons)


def with_interpreters(registry: Registry, pythons: Mapping[str, str]) -> Registry:
    """The same registry, with the interpreters that are for its engines. The others are checked, for `with_shipped`.

    Raises:
        RegistryError: there is no such engine, or no such interpreter.
    """
    others = {name for name in pythons if name not in registry.frameworks and (ADAPTERS / name).is_dir()}
    if others:
        with_shipped(registry, {name: pythons[name] for name in others})
    return registry.with_interpreters({name: python for name, python in pythons.items() if name not in others})
