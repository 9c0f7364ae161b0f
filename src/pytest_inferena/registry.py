"""What is there to benchmark: models and frameworks, from hooks and entry points, checked when read."""

from __future__ import annotations

import difflib
import importlib.metadata
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferena.model import Model

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

METRICS = ("compile", "inference", "latency", "training")
NAME = re.compile(r"[a-z0-9_.]+")


class RegistryError(ValueError):
    """A model or an adapter that cannot be registered; the message says where and what to do."""


@dataclass(frozen=True)
class Backend:
    """One way an engine can run, on one device."""

    name: str
    device: str


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
        document["folder"] = folder
        for key, item in (("backends", Backend), ("absent", Absent), ("known_issues", KnownIssue)):
            if key in document:
                entries = _typed(file, key, document[key], list)
                document[key] = tuple(_build(f"{file}: [[{key}]]", item, entry) for entry in entries)
        document["distributions"] = tuple(_typed(file, "distributions", document.get("distributions", []), list))
        framework: Framework = _build(str(file), cls, document)
        framework.check(file)
        return framework

    def check(self, file: Path) -> None:
        """Raise RegistryError for values that no field's type rules out."""
        if not NAME.fullmatch(self.name):
            raise RegistryError(
                f"{file}: name {self.name!r}: only a-z, 0-9, _ and . (it becomes a marker and part of ids)"
            )
        if not self.backends:
            raise RegistryError(f"{file}: no [[backends]]; one with name and device is needed")
        if self.training not in {"autograd", "joint", "none"}:
            raise RegistryError(f"{file}: training = {self.training!r}; one of autograd, joint, none")
        for metric in (*(item.metric for item in self.absent), *(issue.metric for issue in self.known_issues)):
            if metric not in METRICS:
                raise RegistryError(f"{file}: metric {metric!r}; one of {', '.join(METRICS)}")
        if not self.executable and not self.adapter.exists():
            raise RegistryError(f"{file}: {self.adapter.name} is missing beside it, and no executable is named")


def _typed(where: Any, key: str, value: Any, kind: Any) -> Any:
    if not isinstance(value, kind):
        raise RegistryError(f"{where}: {key} is {type(value).__name__}, not {getattr(kind, '__name__', kind)}")
    return value


FIELD_TYPES = {"str": str, "bool": bool, "str | None": str, "tuple[str, ...]": tuple, "Path": Path}


def _build(where: str, kind: Any, document: Any) -> Any:
    """A dataclass from a table, with an error that names the field."""
    _typed(where, "entry", document, dict)
    fields = kind.__dataclass_fields__
    for key, value in document.items():
        if key not in fields or (key == "folder" and not isinstance(value, Path)):
            known = [name for name in fields if name != "folder"]
            near = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            raise RegistryError(f"{where}: unknown field {key!r}; {hint}")
        _typed(where, key, value, FIELD_TYPES.get(fields[key].type, (dict, tuple)))
    try:
        return kind(**document)
    except TypeError as error:
        missing = re.findall(r"'(\w+)'", str(error))
        raise RegistryError(f"{where}: missing {', '.join(missing)}") from error


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
    return Registry(
        _by_name("model", (_model(path) for path in _unique(models))),
        _by_name("framework", (Framework.read(Path(folder)) for folder in _unique(folders))),
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
