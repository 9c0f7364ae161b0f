"""Engines in Rust: one executable each, built once by cargo for this machine, or brought by a wheel.

The cache keeps an executable under a key of all that it was made from. All engines share one target folder, so that
their dependencies are built once. Sources are copied to one place first: cargo compares paths and times.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import packaging.tags

from pytest_inferena.files import read_plain
from pytest_inferena.store import cache, hashes
from pytest_inferena.worker.strict import parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CARGO = "cargo (Rust 1.95 or newer, https://rustup.rs)"

PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "{version}"
description = "{title} as an engine of pytest-inferena: its executable"
requires-python = ">=3.11"
dependencies = ["pytest-inferena"]

[tool.hatch.build.targets.wheel]
packages = ["{package}"]

[tool.hatch.build.targets.wheel.hooks.custom]
"""
HOOK = """
from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Hook(BuildHookInterface):
    def initialize(self, version, build_data):
        build_data["tag"] = "{tag}"
"""


LARGEST = 4 << 20
"""Bytes that a Cargo.toml or a build.json has at most."""


class CargoError(Exception):
    """An executable could not be built; the message says at which step and what to do."""


@dataclass(frozen=True)
class Build:
    """An executable, and what it was made of."""

    program: Path
    versions: Mapping[str, str]
    """Direct dependencies, rustc, and a hash of Cargo.lock."""


def packages(folder: Path) -> list[Path]:
    """A package's folder, and the folders that it names by `path`, also those that replace a dependency's own."""
    manifest = _manifest(folder)
    tables = (manifest["dependencies"], *manifest.get("patch", {}).values())
    named = [one["path"] for table in tables for one in table.values() if isinstance(one, dict) and "path" in one]
    return [folder, *((folder / path).resolve() for path in named)]


def _manifest(folder: Path) -> dict[str, Any]:
    file = folder / "Cargo.toml"
    try:
        return tomllib.loads(read_plain(file, LARGEST).decode())
    except (OSError, ValueError, RecursionError) as error:
        raise CargoError(f"{file}: {error}") from error


def found(folder: Path, name: str, feature: str) -> Build | None:
    """The executable that there is, or None.

    Args:
        folder: with Cargo.toml.
        name: of the executable. The variable `NAME_BIN`, in capitals, comes first, then a wheel `NAME`.
        feature: the feature of cargo that it was built with; "" for the default.
    """
    if given := os.environ.get(variable(name)):
        return Build(Path(given), {})
    key = _key(folder, feature)
    for place in (_wheel(name), _built(name, key)):
        if place is not None and (place / "build.json").exists():
            try:
                document = parse(read_plain(place / "build.json", LARGEST))
                if document["key"] == key:  # a wheel may be made of other sources than those whose hash results have
                    return Build(place / name, dict(document["versions"]))
            except (OSError, ValueError, LookupError, TypeError):
                continue  # damaged: it is built again
    return None


def variable(name: str) -> str:
    """The variable of the environment that names another executable."""
    return f"{name.upper().replace('-', '_')}_BIN"


def build(folder: Path, name: str, feature: str) -> Build:
    """Build an executable if it is not there; cargo's own progress goes to stderr.

    Raises:
        CargoError: there is no cargo, no registry, or the build failed.
    """
    if os.environ.get(variable(name)):
        raise CargoError(f"{variable(name)} is set, so nothing is built; unset it first")
    if feature and feature not in (features := sorted(_manifest(folder).get("features", {}))):
        raise CargoError(f"it has no feature {feature}; there are {', '.join(features) or 'none'}")
    if shutil.which("cargo") is None:
        raise CargoError(f"{CARGO} is not on PATH: install it, or 'pip install pytest-{name}'")
    from filelock import FileLock

    root, target = cache.root() / "rust", cache.root() / "cargo"
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / "lock"):
        compiler = _output("rustc", "--version", "--verbose")
        rustc, host = (re.findall(rf"{word}: (\S+)", compiler)[0] for word in ("release", "host"))
        key, kept = _key(folder, feature), found(folder, name, feature)
        made = _built(name, key)
        if kept is not None and (kept.program.parent != made or kept.versions["rustc"] == rustc):
            return kept
        source = _copied(packages(folder), root / "src")
        _resolve(source, host)
        versions = _versions(source) | {"rustc": rustc}
        _run(
            ["cargo", "build", "--release", "--offline", "--locked", *(["--features", feature] if feature else [])],
            source, INFERENA_BUILD=json.dumps(versions), CARGO_TARGET_DIR=str(target),
        )  # fmt: skip
        _keep(target / "release" / name, made, {"key": key, "versions": versions})
        return Build(made / name, versions)


def wheel(folder: Path, name: str, title: str, output: Path) -> Path:
    """Make a wheel that holds the executable, for machines without cargo.

    Args:
        folder: with Cargo.toml.
        name: of the executable; the distribution is `pytest-NAME`.
        title: the engine's, for the description.
        output: where the wheel goes.

    Raises:
        CargoError: the executable or the wheel could not be built.
    """
    built = build(folder, name, "")
    package = f"pytest_{name.replace('-', '_')}"
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / package).mkdir()
        for file in (built.program, built.program.parent / "build.json"):
            shutil.copy(file, Path(place) / package)
        (Path(place) / package / "__init__.py").write_text(f'"""{title} as an engine of pytest-inferena."""\n')
        (Path(place) / "pyproject.toml").write_text(
            PROJECT.format(
                name=f"pytest-{name}",
                package=package,
                title=title,
                version=importlib.metadata.version("pytest-inferena"),
            )
        )
        # The C library here is the oldest that it will run with.
        tag = f"py3-none-{next(tag for tag in packaging.tags.platform_tags() if not tag.startswith('linux'))}"
        (Path(place) / "hatch_build.py").write_text(HOOK.format(tag=tag))
        _run(
            [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(output.absolute())],
            Path(place),
        )
    return next(output.glob(f"{package}-*-{tag}.whl"))


@functools.cache
def _key(folder: Path, feature: str) -> str:
    """Of all that cargo is given, and of nothing else that lies in the folder, such as what writes exchange files."""
    given = {
        f"{package.name}/{file.relative_to(package)}": hashes.sha256(file)
        for package in packages(folder)
        for file in _sources(package)
    }
    parts = [sorted(given.items()), feature, platform.machine(), platform.system()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _built(name: str, key: str) -> Path:
    return cache.root() / "rust" / "bin" / f"{name}-{key}"


def _wheel(name: str) -> Path | None:
    """Where a distribution that is called like the executable has it."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        distribution = importlib.metadata.distribution(f"pytest-{name}")
        return Path(str(distribution.locate_file(f"pytest_{name.replace('-', '_')}")))
    return None


def _copied(folders: list[Path], target: Path) -> Path:
    """Copy folders beside each other. A file that has not changed keeps its time, so that cargo does nothing for it."""
    for folder in folders:
        copy = target / folder.name
        wanted = {file.relative_to(folder): file for file in _sources(folder)}
        for file in [*_sources(copy)]:
            if file.relative_to(copy) not in wanted:
                file.unlink()
        for relative, file in wanted.items():
            kept = copy / relative
            if not kept.exists() or kept.read_bytes() != file.read_bytes():
                kept.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, kept)
    return target / folders[0].name


def _sources(folder: Path) -> Iterator[Path]:
    yield from (file for file in (folder / "Cargo.toml", folder / "build.rs") if file.exists())
    yield from (file for file in folder.glob("src/**/*") if file.is_file())


def _resolve(source: Path, host: str) -> None:
    """Make Cargo.lock and fetch the crates for this machine, without a registry if that is possible."""
    fetch = ["cargo", "fetch", "--quiet", "--target", host]
    here = subprocess.run([*fetch, "--offline"], cwd=source, capture_output=True, check=False)
    if here.returncode:
        _run(fetch, source, CARGO_NET_RETRY="1")


def _versions(source: Path) -> dict[str, str]:
    """The versions of direct dependencies, and a hash of all dependencies."""
    manifest = _manifest(source)
    lock = tomllib.loads((source / "Cargo.lock").read_text(encoding="utf-8"))["package"]
    direct = [one for one in lock if one["name"] in manifest["dependencies"] and "source" in one]
    everything = sorted((one["name"], one["version"], one.get("checksum", "")) for one in lock)
    resolved = hashlib.sha256(json.dumps(everything).encode()).hexdigest()[:16]
    return {one["name"]: one["version"] for one in direct} | {"Cargo.lock": resolved}


def _keep(program: Path, made: Path, document: Mapping[str, Any]) -> None:
    """Put the executable where it is looked for, whole or not at all."""
    making = made.with_suffix(".making")
    for folder in (making, made):
        shutil.rmtree(folder, ignore_errors=True)
    making.mkdir(parents=True)
    shutil.copy(program, making)
    (making / "build.json").write_text(json.dumps(document))
    making.rename(made)


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise CargoError(f"'{' '.join(command)}' failed: {error}; {CARGO} is needed") from error


def _run(command: list[str], folder: Path, **environment: str) -> None:
    done = subprocess.run(command, cwd=folder, env=os.environ | environment, check=False)
    if done.returncode:
        raise CargoError(f"'{' '.join(command)}' exited with status {done.returncode}; its own words stand above")
