"""The models and frameworks that can be benchmarked, from hooks and entry points; they are checked when read."""

from __future__ import annotations

import importlib.metadata
import shutil
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferena.cell import METRICS
from pytest_inferena.collect.model import Model
from pytest_inferena.collect.target import ASKED_FOR, Target
from pytest_inferena.engines.framework import Framework, RegistryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


@dataclass(frozen=True)
class Registry:
    """All models and frameworks by name."""

    models: Mapping[str, Model]
    frameworks: Mapping[str, Framework]

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        """Every model on every backend of every framework, in the order of their registration."""
        engines = [(framework, backend) for framework in self.frameworks.values() for backend in framework.backends]
        return tuple(Target(model, *engine) for model in self.models.values() for engine in engines)

    def markers(self) -> dict[str, str]:
        """Every marker that this project declares, with its description."""
        described: dict[str, str] = {metric: f"cells of the metric {metric}" for metric in METRICS}
        described |= ASKED_FOR
        for model in self.models.values():
            described.setdefault(model.name, f"cells of the model {model.title}")
        for framework in self.frameworks.values():
            described.setdefault(framework.name, f"cells of the framework {framework.title}")
            for backend in framework.backends:
                described.setdefault(backend.name, f"cells of the backend {backend.name}")
                described.setdefault(backend.device, f"cells on the device {backend.device}")
            described.setdefault(framework.language, f"frameworks called from {framework.language}")
        return described

    def with_interpreters(self, pythons: Mapping[str, str]) -> Registry:
        """The same registry, with other interpreters for the workers of some frameworks.

        Raises:
            RegistryError: there is no such framework, it does not run Python, or there is no such interpreter.
        """
        named = dict(self.frameworks)
        for name, python in pythons.items():
            if name not in named:
                raise RegistryError(f"{name} is no framework; there are {', '.join(named)}")
            if program := named[name].kind.program:
                raise RegistryError(f"{name} runs {program}, not Python")
            if (found := shutil.which(python)) is None:
                raise RegistryError(f"{python} is no interpreter; 'inferena setup --isolated {name}' makes one")
            named[name] = replace(named[name], python=str(Path(found).absolute()))
        return Registry(self.models, named)


def collect(hook: Any) -> Registry:
    """Ask hooks and entry points.

    Args:
        hook: pluggy's hook relay, which has `pytest_inferena_models` and `pytest_inferena_adapters`.

    Raises:
        RegistryError: a source cannot be read, or two things share a name.
    """
    models = [*_flat(hook.pytest_inferena_models()), *_entry_points("pytest_inferena.models")]
    folders = [*_flat(hook.pytest_inferena_adapters()), *_entry_points("pytest_inferena.adapters")]
    registry = Registry(
        _by_name("model", (_model(path) for path in _unique(models))),
        _by_name("framework", (Framework.read(Path(folder)) for folder in _unique(folders))),
    )
    _check_distinct(registry)
    return registry


def _check_distinct(registry: Registry) -> None:
    """Two markers may share a name only if they mean the same cells, as those of a backend and its device do."""
    taken = dict.fromkeys(METRICS, "metric") | dict.fromkeys(ASKED_FOR, "marker")
    _reject("framework", registry.frameworks, taken)
    for framework in registry.frameworks.values():
        taken.setdefault(framework.name, "framework")
        taken.setdefault(framework.language, "language")
        for backend in framework.backends:
            taken.setdefault(backend.name, "backend")
            taken.setdefault(backend.device, "device")
    _reject("model", registry.models, taken)


def _reject(kind: str, things: Mapping[str, Any], taken: Mapping[str, str]) -> None:
    for name, thing in things.items():
        if name in taken:
            place = getattr(thing, "folder", None) or thing.source
            raise RegistryError(
                f"the {kind} {name!r} ({place}) has the name of a {taken[name]}, "
                "so -m cannot tell them apart; rename it"
            )


def _model(path: Path) -> Model:
    try:
        return Model.from_file(Path(path))
    except (ValueError, OSError) as error:
        raise RegistryError(str(error)) from error


def _flat(results: Iterable[Iterable[Path]]) -> Iterator[Path]:
    for result in results:
        yield from result


def _unique(paths: Iterable[Path]) -> list[Path]:
    return list(dict.fromkeys(Path(path).resolve() for path in paths))


def _entry_points(group: str) -> Iterator[Path]:
    for point in importlib.metadata.entry_points(group=group):
        try:
            loaded = point.load()
            found = loaded() if callable(loaded) else loaded
            yield from map(Path, [found] if isinstance(found, str | Path) else found)
        except Exception as error:
            raise RegistryError(
                f"entry point {point.name!r} of {group} ({point.value}): {type(error).__name__}: {error}; "
                f"mend or uninstall {point.dist.name if point.dist else 'its distribution'}"
            ) from error


def _by_name(kind: str, things: Iterable[Any]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for thing in things:
        if thing.name in named:
            places = [getattr(item, "folder", None) or item.source for item in (named[thing.name], thing)]
            raise RegistryError(f"two {kind}s are named {thing.name!r}: {places[0]} and {places[1]}; rename one")
        named[thing.name] = thing
    return named
