"""What is there to benchmark: models and frameworks, from hooks and entry points, checked when read."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferena.fields import FieldError, build
from pytest_inferena.model import Model

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

METRICS = ("compile", "inference", "latency", "training")
PHASES = ("hello", "load", "compile", "measure", "outputs")
"""Requests to a worker; each has its deadline."""
NAME = re.compile(r"[a-z0-9_.]+")


class RegistryError(ValueError):
    """A model or an adapter that cannot be registered; the message says where and what to do."""


@dataclass(frozen=True)
class Backend:
    """One way an engine can run, on one device."""

    name: str
    device: str
    tools: tuple[str, ...] = ()
    """Programs that have to be on PATH, such as a compiler."""


@dataclass(frozen=True)
class Absent:
    """A metric that an engine does not have, with the engine's own limit as reason."""

    metric: str
    reason: str
    model: str | None = None


@dataclass(frozen=True)
class KnownIssue:
    """An upstream bug: the cell is expected to fail while the installed version is in the range."""

    metric: str
    reason: str
    link: str
    model: str | None = None
    distribution: str = ""
    versions: str = ""
    """A version specifier such as `>=1.2,<1.4`; empty: every version."""


@dataclass(frozen=True, eq=False)
class Framework:
    """An adapter's identity: what adapter.toml says. Equal only to itself: the registry has one of each."""

    name: str
    title: str
    language: str
    install: str
    """The command that installs what is missing."""
    folder: Path
    distributions: tuple[str, ...] = ()
    """Python distributions whose versions are reported; one missing means not installed."""
    backends: tuple[Backend, ...] = ()
    training: str = "autograd"
    """`autograd`: its own; `joint`: it runs PyTorch's gradient graph; `none`."""
    exchange: bool = False
    """Whether the adapter's `prepare` writes files, in the preparer."""
    needs_torch: str = ""
    """Why its worker imports torch, if it does."""
    executable: str = ""
    """A program that speaks the worker protocol, instead of a Python adapter."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Environment of the worker; `{scratch}` and `{threads}` are filled in."""
    timeouts: Mapping[str, float] = field(default_factory=dict)
    absent: tuple[Absent, ...] = ()
    known_issues: tuple[KnownIssue, ...] = ()

    @property
    def adapter(self) -> Path:
        """The Python adapter."""
        return self.folder / f"{self.name}_adapter.py"

    def installed(self) -> tuple[dict[str, str], str]:
        """Versions of the distributions there are, and the reason why it cannot run ("" if it can)."""
        versions, missing = {}, []
        for name in self.distributions:
            try:
                versions[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                missing.append(name)
        reason = f"{' and '.join(missing)} not installed: {self.install}" if missing else ""
        return versions, reason

    def missing(self, backend: Backend) -> str:
        """Why a backend cannot run here, with the remedy; "" if it can."""
        absent = [tool for tool in backend.tools if shutil.which(tool) is None]
        tools = f"{' and '.join(absent)} not found on PATH: install it" if absent else ""
        return self.installed()[1] or tools

    @classmethod
    def read(cls, folder: Path) -> Framework:
        """Read `adapter.toml`.

        Raises:
            RegistryError: it is missing, broken, or has a field that is unknown or of the wrong type.
        """
        file = folder / "adapter.toml"
        try:
            document = tomllib.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise RegistryError(f"{file}: {error.strerror}; every adapter's folder holds an adapter.toml") from error
        except tomllib.TOMLDecodeError as error:
            raise RegistryError(f"{file}: {error}") from error
        try:
            parts = {
                key: tuple(_entries(key, item, document.pop(key)))
                for key, item in (("backends", Backend), ("absent", Absent), ("known_issues", KnownIssue))
                if key in document
            }
            framework = build(cls, document, folder=folder, **parts)
        except FieldError as error:
            raise RegistryError(f"{file}: {error}") from error
        framework.check(file)
        return framework

    def check(self, file: Path) -> None:
        """Raise RegistryError for values that no field's type rules out."""
        parts = (part for backend in self.backends for part in (backend.name, backend.device))
        for name in (self.name, self.language, *parts):
            if not NAME.fullmatch(name):
                raise RegistryError(f"{file}: name {name!r}: only a-z, 0-9, _ and . (it is a marker and part of ids)")
        if not self.backends:
            raise RegistryError(f"{file}: no [[backends]]; one with name and device is needed")
        if self.training not in {"autograd", "joint", "none"}:
            raise RegistryError(f"{file}: training = {self.training!r}; one of autograd, joint, none")
        for metric in (*(item.metric for item in self.absent), *(issue.metric for issue in self.known_issues)):
            if metric not in METRICS:
                raise RegistryError(f"{file}: metric {metric!r}; one of {', '.join(METRICS)}")
        for phase in self.timeouts:
            if phase not in PHASES:
                raise RegistryError(f"{file}: timeouts: {phase} is no phase; one of {', '.join(PHASES)}")
        if not self.executable and not self.adapter.exists():
            raise RegistryError(f"{file}: {self.adapter.name} is missing beside it, and no executable is named")


def _entries(key: str, kind: Any, tables: Any) -> Iterator[Any]:
    """What an array of tables holds."""
    for table in tables if isinstance(tables, list) else [tables]:
        try:
            yield build(kind, table)
        except FieldError as error:
            raise FieldError(f"[[{key}]]: {error}") from error


@dataclass(frozen=True)
class Registry:
    """All models and frameworks by name."""

    models: Mapping[str, Model]
    frameworks: Mapping[str, Framework]


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
    """Markers of two kinds may share a name only where they mean the same cells, as a backend and its device do."""
    taken = dict.fromkeys(METRICS, "metric") | {"large": "marker for large models"}
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
