"""What an adapter says of its engine: adapter.toml, read and checked."""

from __future__ import annotations

import re
import sys
import tomllib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from packaging.requirements import InvalidRequirement, Requirement

from pytest_inferena.cell import METRICS
from pytest_inferena.engines.fields import FieldError, build
from pytest_inferena.engines.limits import Limits
from pytest_inferena.files import read_plain
from pytest_inferena.ranges import RangeError, seconds
from pytest_inferena.store import cache

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from packaging.specifiers import SpecifierSet

PHASES = ("hello", "load", "compile", "measure", "outputs")
"""Requests to a worker; each has its deadline."""
LARGEST = 1 << 20
"""Bytes that an adapter.toml has at most."""
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
    platforms: tuple[str, ...] = ()
    """The platforms where it exists, as `sys.platform` names them; empty: all."""
    env: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Environment of the worker, beside the framework's."""
    tuned: bool = False
    """The engine searches for fast kernels by timing them. Its variant is `tuned`, which runs only when asked for."""
    feature: str = ""
    """The feature of cargo that its executable is built with, for engines in Rust."""
    build_tools: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Programs that are needed to build the feature, each with what brings it."""
    script: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Beside the framework's."""
    requires: tuple[str, ...] = ()
    """Distributions that it needs beside the framework's."""
    replaces: tuple[str, ...] = ()
    """Distributions of the framework's that those of `requires` stand for, because they own the same module."""
    build: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Distributions of the framework's that are built for it, each with its CMAKE_ARGS; they get an environment of
    their own, which its worker uses."""
    debian: tuple[str, ...] = ()
    """Packages of Debian that building takes."""
    device_variable: str = ""
    """The variable that takes a device's number, for devices that have none of their own, such as Vulkan's."""

    @property
    def variant(self) -> str:
        """What the results call it."""
        return "tuned" if self.tuned else "vanilla"


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
class Description:
    """What adapter.toml says, field by field. Equal only to itself: the registry has one of each."""

    name: str
    title: str
    language: str
    folder: Path
    requires: tuple[str, ...] = ()
    """Python distributions with the range of versions that was tested, as pip takes them (`jax>=0.10,<1`)."""
    install: str = ""
    """The command that installs what is missing; empty: `inferena setup NAME`, which installs `requires`."""
    alone: tuple[str, ...] = ()
    """Distributions that are installed without their own requirements; `requires` has what they really need."""
    build: Mapping[str, str] = field(default_factory=dict)
    """Distributions that `inferena setup` builds on this machine, each with its CMAKE_ARGS."""
    debian: tuple[str, ...] = ()
    """Packages of Debian that `inferena setup` installs if it may."""
    backends: tuple[Backend, ...] = ()
    training: str = "autograd"
    """`autograd`: its own; `joint`: it runs PyTorch's gradient graph; `none`."""
    exchange: bool = False
    """Whether the adapter's `prepare` writes files, in the preparer."""
    needs_torch: str = ""
    """Why its worker imports torch, if it does."""
    executable: str = ""
    """A program that speaks the worker protocol, instead of a Python adapter."""
    cargo: str = ""
    """The same, built by cargo from the package in this folder: the name of the executable."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Environment of the worker; `{scratch}`, `{kernels}` and `{threads}` are filled in."""
    timeouts: Mapping[str, float] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)
    """What its worker may take: fields of `Limits`, and sizes such as `8GiB`."""
    script: Mapping[str, str] = field(default_factory=dict)
    """`inference`, `training`: lines of Python that run one operator with the engine alone; docs/explain.md."""
    absent: tuple[Absent, ...] = ()
    known_issues: tuple[KnownIssue, ...] = ()
    python: str = sys.executable
    """The interpreter of its worker: this one, or what --inferena-python names."""

    @cached_property
    def adapter(self) -> Path:
        """The Python adapter: `adapter.py`, or the file that adapters of older versions had instead."""
        older = self.folder / f"{self.name}_adapter.py"
        new = self.folder / "adapter.py"
        return older if older.exists() and not new.exists() else new

    @property
    def note(self) -> str:
        """What its author should change, although it works; "" if nothing."""
        if self.adapter.name == "adapter.py":
            return ""
        return f"{self.adapter} is called adapter.py from now on: rename it"

    @property
    def entries(self) -> list[str]:
        """The entries of a Program that it runs."""
        trains = {"autograd": ["training"], "joint": ["joint"]}
        return ["inference", "latency", *trains.get(self.training, ())]

    @property
    def remedy(self) -> str:
        """The command that installs it: where it was looked for, which may be an environment of its own."""
        isolated = "" if self.python == sys.executable else " --isolated"
        return self.install or f"inferena setup {self.name}{isolated}"

    @cached_property
    def requirements(self) -> Mapping[str, SpecifierSet]:
        """The distributions that this platform needs, each with the versions that were tested."""
        return _needed(self.requires)

    def interpreter(self, backend: Backend) -> str:
        """The interpreter of a backend's worker. What is built for a backend can't be beside what others use."""
        if backend.build and self.python == sys.executable:
            return str(environment(f"{self.name}-{backend.name}"))
        return self.python

    def needs(self, backend: Backend) -> Mapping[str, SpecifierSet]:
        """The distributions that a backend needs, its own among them."""
        shared = {name: tested for name, tested in self.requirements.items() if name not in backend.replaces}
        return {**shared, **_needed(backend.requires)}

    @property
    def known(self) -> list[str]:
        """Names of all distributions that some backend of it needs."""
        own = (name for backend in self.backends for name in _needed(backend.requires))
        return list(dict.fromkeys([*self.requirements, *own]))

    def environment(self, backend: Backend, scratch: Path, threads: int, kernels: Path | None = None) -> dict[str, str]:
        """The variables for its worker's environment: adapter.toml's `env` and the backend's, filled in.

        Kernels that the engine compiles go to `scratch`, which is empty: `compile` is measured cold. If nothing is
        measured they may go to a folder that stays.
        """
        filled = {"scratch": str(scratch), "kernels": str(kernels or scratch), "threads": str(threads)}
        return {name: _filled(value, filled) for name, value in {**self.env, **backend.env}.items()}

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read `adapter.toml`.

        Raises:
            RegistryError: it is missing, broken, or has a field that is unknown or of the wrong type.
        """
        file = folder / "adapter.toml"
        try:
            document = tomllib.loads(read_plain(file, LARGEST).decode())
        except OSError as error:
            raise RegistryError(f"{file}: {error.strerror}; every adapter's folder holds an adapter.toml") from error
        except (ValueError, RecursionError) as error:
            raise RegistryError(f"{file}: {error}") from error
        try:
            parts = {
                key: tuple(_entries(key, item, document.pop(key)))
                for key, item in (("backends", Backend), ("absent", Absent), ("known_issues", KnownIssue))
                if key in document
            }
            found = build(cls, document, folder=folder, python=sys.executable, **parts)
        except FieldError as error:
            raise RegistryError(f"{file}: {error}") from error
        found.check(file)
        return found

    def check(self, file: Path) -> None:
        """Raise RegistryError for values that are of the right type and wrong all the same."""
        self._check_names(file)
        if not self.backends:
            raise RegistryError(f"{file}: no [[backends]]; one with name and device is needed")
        if self.training not in {"autograd", "joint", "none"}:
            raise RegistryError(f"{file}: training = {self.training!r}; one of autograd, joint, none")
        for metric in (*(item.metric for item in self.absent), *(issue.metric for issue in self.known_issues)):
            if metric not in METRICS:
                raise RegistryError(f"{file}: metric {metric!r}; one of {', '.join(METRICS)}")
        self._check_numbers(file)
        try:
            _ = self.known
        except InvalidRequirement as error:
            raise RegistryError(f"{file}: requires: {str(error).splitlines()[0]}") from error

    def _check_numbers(self, file: Path) -> None:
        for phase, given in self.timeouts.items():
            if phase not in PHASES:
                raise RegistryError(f"{file}: timeouts: {phase} is no phase; one of {', '.join(PHASES)}")
            try:
                seconds(f"timeouts: {phase}", given)
            except RangeError as error:
                raise RegistryError(f"{file}: {error}") from None
        try:
            Limits.of(0, self.limits)
        except ValueError as error:
            raise RegistryError(f"{file}: limits: {error}") from error

    def _check_names(self, file: Path) -> None:
        parts = (part for backend in self.backends for part in (backend.name, backend.device))
        for name in (self.name, self.language, *parts):
            if not NAME.fullmatch(name):
                raise RegistryError(f"{file}: name {name!r}: only a-z, 0-9, _ and . (it is a marker and part of ids)")


def environment(name: str) -> Path:
    """The interpreter of an environment that `inferena setup` makes."""
    return cache.root() / "engines" / name / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def _needed(requires: Iterable[str]) -> dict[str, SpecifierSet]:
    """What of requirements this platform needs."""
    parsed = [Requirement(text) for text in requires]
    return {one.name: one.specifier for one in parsed if one.marker is None or one.marker.evaluate()}


def _filled(value: str, filled: Mapping[str, str]) -> str:
    """A variable's value. Only the names of `filled` in braces are placeholders, all other text stays."""
    return re.sub(r"\{(\w+)\}", lambda found: filled.get(found[1], found[0]), value)


def _entries(key: str, kind: Any, tables: Any) -> Iterator[Any]:
    """The entries of an array of tables."""
    for table in tables if isinstance(tables, list) else [tables]:
        try:
            yield build(kind, table)
        except FieldError as error:
            raise FieldError(f"[[{key}]]: {error}") from error
