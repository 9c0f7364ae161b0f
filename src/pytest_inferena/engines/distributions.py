"""Python distributions that engines require: which versions are there, and how they are installed."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.machinery
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement

from pytest_inferena.engines.description import RegistryError, environment
from pytest_inferena.machine import instruction_sets
from pytest_inferena.store import cache

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_inferena.engines.description import Description

CONSTRAINTS = Path(__file__).parents[3] / "constraints.txt"
"""The tested versions, in a checkout; a wheel has no such file."""
WORKER = ("numpy", "safetensors")
"""What every worker needs beside its engine."""
_ASK = """
import importlib.metadata, json, sys
versions = {}
for name in sys.argv[1:]:
    try:
        versions[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(versions))
"""
"""Asks an interpreter for its distributions."""


class SetupError(Exception):
    """An engine could not be installed; the message says at which step and what to do."""


def versions(names: Iterable[str]) -> dict[str, str]:
    """Versions of those distributions that this interpreter has."""
    found = {}
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def versions_elsewhere(engine: Description, python: str) -> dict[str, str]:
    """Versions of the required distributions that another interpreter has.

    Raises:
        RegistryError: it does not answer.
    """
    command = [python, "-c", _ASK, *engine.known]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
        found: dict[str, str] = json.loads(answer)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise RegistryError(f"{python}, the interpreter of {engine.name}, does not answer: {error}") from error
    return found


def install(engine: Description, own: str) -> Path:
    """Install what an engine requires, into this interpreter or an environment of its own, which has a name.

    Returns:
        the interpreter that has it now.

    Raises:
        SetupError: a step failed.
    """
    python = _environment(engine, own) if own else Path(sys.executable)
    installer = _pip(python)
    if not has_pip() and (engine.build or installer[0] == sys.executable):
        raise SetupError(
            f"{engine.title}: this environment has no pip: '{sys.executable} -m ensurepip', then this again"
        )
    wanted = [*engine.requires, *(WORKER if own else ())]
    built = [str(_wheel(engine, text)) for text in wanted if Requirement(text).name in engine.build]
    alone = [text for text in wanted if Requirement(text).name in engine.alone]
    plain = [text for text in wanted if Requirement(text).name not in {*engine.build, *engine.alone}]
    tested = ["--constraint", str(CONSTRAINTS)] if CONSTRAINTS.exists() and not own else []
    command = [*installer, "install", *_target(python), *tested]
    run([*command, *built, *plain], engine)
    if alone:
        run([*command, "--no-deps", *alone], engine)
    return python


def has_pip() -> bool:
    """Whether this interpreter has pip.

    Only its search path is asked: `importlib.util.find_spec` asks setuptools' hook too, which takes that for the start
    of pip, gives way to the standard library's distutils, and can be imported no more (Python 3.11).
    """
    return importlib.machinery.PathFinder.find_spec("pip") is not None


def _environment(engine: Description, name: str) -> Path:
    import venv

    python = environment(name)
    folder = python.parents[1]
    if not python.exists():
        print(f"{engine.title}: an environment of its own in {folder}", flush=True)
        venv.create(folder, with_pip=True)
    return python


def _pip(python: Path) -> list[str]:
    """The installer: uv, which is quicker, if it is beside the interpreter or on PATH; else pip."""
    uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    return [uv, "pip"] if uv else [str(python), "-m", "pip"]


def _target(python: Path) -> list[str]:
    return ["--python", str(python)] if Path(_pip(python)[0]).stem == "uv" else []


def _wheel(engine: Description, requirement: str) -> Path:
    """A wheel that is built on this machine, once for each version, set of CMAKE_ARGS, processor and Python."""
    name, arguments = Requirement(requirement).name, engine.build[Requirement(requirement).name]
    pinned = [line for line in _constraints() if Requirement(line).name == name]
    key = [pinned or requirement, arguments, instruction_sets(), sys.version_info[:2], sys.platform]
    folder = cache.root() / "wheels" / f"{name}-{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]}"
    if not (kept := list(folder.glob("*.whl"))):
        print(f"{engine.title}: building {name} takes some minutes", flush=True)
        making = folder.with_suffix(".making")
        shutil.rmtree(making, ignore_errors=True)
        command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-binary", name, "--no-cache-dir",
                   "--wheel-dir", str(making), *(pinned or [requirement])]  # fmt: skip
        run(command, engine, CMAKE_ARGS=arguments, CMAKE_BUILD_PARALLEL_LEVEL=str(os.cpu_count() or 1))
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        making.rename(folder)
        kept = list(folder.glob("*.whl"))
    return kept[0]


def _constraints() -> list[str]:
    lines = CONSTRAINTS.read_text().splitlines() if CONSTRAINTS.exists() else []
    return [line for line in lines if line and not line.startswith("#")]


def run(command: Sequence[str], engine: Description, **environment: str) -> None:
    """Run a step of an engine's installation. What it prints goes where our own output goes.

    Raises:
        SetupError: it failed.
    """
    done = subprocess.run(command, env=os.environ | environment, check=False)
    if done.returncode:
        raise SetupError(
            f"{engine.title}: '{' '.join(command)}' exited with status {done.returncode}; its own words stand above"
        )
