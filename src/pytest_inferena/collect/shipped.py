"""The engines that this project brings along, for tests that name one although nobody has registered it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_inferena.collect.arguments import BENCHMARKS
from pytest_inferena.collect.registry import Registry
from pytest_inferena.engines.framework import Framework

if TYPE_CHECKING:
    from pathlib import Path


def shipped() -> list[Path]:
    """The folders of this project's adapters, in a checkout and in the wheel."""
    return sorted(file.parent for file in BENCHMARKS.parent.glob("adapters/*/adapter.toml"))


def with_shipped(registry: Registry) -> Registry:
    """The same registry, and behind it those of this project's engines that it lacks."""
    others = {folder.name: Framework.read(folder) for folder in shipped() if folder.name not in registry.frameworks}
    return Registry(registry.models, {**registry.frameworks, **others})
