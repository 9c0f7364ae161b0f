"""The models and frameworks that can be benchmarked, from hooks and entry points; they are checked when read."""

from __future__ import annotations

import importlib.metadata
import itertools
import keyword
import shutil
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferena.cell import DEFAULTS, METRICS
from pytest_inferena.collect.model import Model
from pytest_inferena.collect.source import Source, not_absolute
from pytest_inferena.collect.target import ASKED_FOR, Target
from pytest_inferena.engines.framework import Framework, RegistryError
from pytest_inferena.machine.devices import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import pluggy

HOOKS = ("pytest_inferena_models", "pytest_inferena_adapters")
_ACTED_UPON = (
    "benchmark", "filterwarnings", "inferena", "parametrize", "skip", "skipif", "usefixtures", "xdist_group", "xfail"
)  # fmt: skip
"""Markers that do something to a test. Any other that somebody declares may stand beside one of ours."""


@dataclass(frozen=True)
class Registry:
    """All models and frameworks by name."""

    models: Mapping[str, Model]
    frameworks: Mapping[str, Framework]
    batches: tuple[int | None, ...] = (None,)
    seqs: tuple[int | None, ...] = (None,)
    """Batches and lengths that every model runs with; None is its own."""
    inputs: tuple[str, ...] = (DEFAULTS["inputs"],)

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        """Every model, in each batch and length, with all kinds of inputs, on each backend, in their order."""
        engines = [(framework, backend) for framework in self.frameworks.values() for backend in framework.backends]
        return tuple(
            Target(model, *engine, batch=batch, seq=seq, inputs=inputs)
            for model, batch, seq, inputs in itertools.product(
                self.models.values(), self.batches, self.seqs, self.inputs
            )
            for engine in engines
        )

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
        for device in KINDS:
            described.setdefault(device, f"cells on the device {device}")
        return described

    def places(self) -> dict[str, list[str]]:
        """Where its models and adapters lie: what `read` takes."""
        return {
            "models": [str(model.source) for model in self.models.values()],
            "adapters": [str(framework.folder) for framework in self.frameworks.values()],
        }

    def namesakes(self) -> list[str]:
        """A sentence for each title that several models have, or several frameworks."""
        found = []
        for kind, known in (("models", self.models), ("frameworks", self.frameworks)):
            titles = [one.title for one in known.values()]
            for title in dict.fromkeys(title for title in titles if titles.count(title) > 1):
                names = " and ".join(name for name, one in known.items() if one.title == title)
                found.append(f"the {kind} {names} have one title, {title!r}; tables tell them apart by their names")
        return found

    def chosen(self, names: Sequence[str]) -> Mapping[str, Framework]:
        """Frameworks by name, in this order; all of them where no name is given.

        Raises:
            RegistryError: there is none of a name.
        """
        if unknown := [name for name in names if name not in self.frameworks]:
            raise RegistryError(f"{unknown[0]} is no engine; there are {', '.join(self.frameworks)}")
        return {name: self.frameworks[name] for name in names or self.frameworks}

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
        return replace(self, frameworks=named)


def collect(manager: pluggy.PluginManager, sources: Iterable[Source] = ()) -> Registry:
    """Ask hooks and entry points.

    Args:
        manager: The plugins that may implement `HOOKS`.
        sources: further models.

    Raises:
        RegistryError: a source cannot be read, or two things share a name.
    """
    models, adapters = HOOKS
    return read(
        [*_registered(manager, models, _sources), *_entry_points("pytest_inferena.models", _sources), *sources],
        [*_registered(manager, adapters, _paths), *_entry_points("pytest_inferena.adapters", _paths)],
    )


def read(models: Iterable[Source], folders: Iterable[Path]) -> Registry:
    """Read sources of models and folders of adapters.

    Raises:
        RegistryError: one cannot be read, or two things share a name.
    """
    registry = Registry(
        _by_name("model", (_model(source) for source in dict.fromkeys(models))),
        _by_name("framework", (Framework.read(path) for path in dict.fromkeys(path.resolve() for path in folders))),
    )
    _check_distinct(registry)
    return registry


def _check_distinct(registry: Registry) -> None:
    """Two markers may share a name only if they mean the same cells, as those of a backend and its device do."""
    reserved = dict.fromkeys(keyword.kwlist, "keyword") | dict.fromkeys(_ACTED_UPON, "marker that has a meaning")
    taken = reserved | dict.fromkeys(METRICS, "metric") | dict.fromkeys(ASKED_FOR, "marker")
    _reject("framework", registry.frameworks, taken)
    for framework in registry.frameworks.values():
        taken.setdefault(framework.name, "framework")
        taken.setdefault(framework.language, "language")
        _reject("language", {framework.language: framework}, reserved)
        for backend in framework.backends:
            taken.setdefault(backend.name, "backend")
            taken.setdefault(backend.device, "device")
            _reject("backend", {backend.name: framework}, reserved)
            _reject("device", {backend.device: framework}, reserved)
    _reject("model", registry.models, taken)


def _reject(kind: str, things: Mapping[str, Any], taken: Mapping[str, str]) -> None:
    for name, thing in things.items():
        if name in taken:
            place = getattr(thing, "folder", None) or thing.source
            raise RegistryError(
                f"the {kind} {name!r} ({place}) has the name of a {taken[name]}, "
                "so -m cannot tell them apart; rename it"
            )


def _model(source: Source) -> Model:
    try:
        return Model.of(source)
    except (ValueError, OSError) as error:
        raise RegistryError(str(error)) from error


def _registered(manager: pluggy.PluginManager, name: str, check: Callable[[Any], Iterator[Any]]) -> Iterator[Any]:
    """What a hook returns. Every plugin is asked by itself, so that an error can name its file."""
    found = [each for each in getattr(manager.hook, name).get_hookimpls() if not (each.wrapper or each.hookwrapper)]
    plugins = [each.plugin for each in reversed(found)]
    for plugin in plugins:
        origin = f"{getattr(plugin, '__file__', None) or manager.get_name(plugin)}: {name}"
        ask = manager.subset_hook_caller(name, [other for other in plugins if other is not plugin])
        try:
            paths = [path for answer in ask() for path in check(answer)]
        except Exception as error:
            raise RegistryError(f"{origin}: {type(error).__name__}: {error}") from error
        yield from paths


def _sources(found: Iterable[Any]) -> Iterator[Source]:
    """What a hook or an entry point gave for models, checked.

    Raises:
        ValueError: it is no list of sources, or a path in one is not absolute.
    """
    for source in _listed(found):
        yield Source.parse(source, None)


def _paths(found: Iterable[Any]) -> Iterator[Path]:
    """The same for adapters.

    Raises:
        ValueError: it is no list of absolute paths.
    """
    for path in _listed(found):
        if not Path(path).is_absolute():
            raise not_absolute(path)
        yield Path(path)


def _listed(found: Iterable[Any]) -> Iterator[str]:
    if isinstance(found, str):
        raise ValueError(f"{found!r} is no list; write [{found!r}]")
    for one in found:
        if not isinstance(one, str | Path):
            raise not_absolute(str(one))
        yield str(one)


def _entry_points(group: str, check: Callable[[Any], Iterator[Any]]) -> Iterator[Any]:
    for point in importlib.metadata.entry_points(group=group):
        try:
            loaded = point.load()
            found = loaded() if callable(loaded) else loaded
            paths = [*check([found] if isinstance(found, str | Path) else found)]
        except Exception as error:
            raise RegistryError(
                f"entry point {point.name!r} of {group} ({point.value}): {type(error).__name__}: {error}; "
                f"mend or uninstall {point.dist.name if point.dist else 'its distribution'}"
            ) from error
        yield from paths


def _by_name(kind: str, things: Iterable[Any]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for thing in things:
        if thing.name in named:
            places = [getattr(item, "folder", None) or item.source for item in (named[thing.name], thing)]
            raise RegistryError(f"two {kind}s are named {thing.name!r}: {places[0]} and {places[1]}; rename one")
        named[thing.name] = thing
    return named
