"""`inferena setup`: installs what an engine requires, and builds what is best built on the machine it runs on."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement

from pytest_inferena.engines import crates
from pytest_inferena.machine import instruction_sets
from pytest_inferena.store import cache

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_inferena.engines.framework import Framework

CONSTRAINTS = Path(__file__).parents[3] / "constraints.txt"
"""A checkout's tested versions; a wheel has none."""
WORKER = ("numpy", "safetensors")
"""What a worker needs beside its engine."""


class SetupError(Exception):
    """An engine could not be installed; the message says at which step and what to do."""


def setup(engine: Framework, *, isolated: bool = False, feature: str = "") -> Path:
    """Install an engine; progress goes to stdout.

    Args:
        engine: what to install; one that is there already is left alone.
        isolated: into an environment of its own, where its requirements clash with others'.
        feature: of cargo, that an engine in Rust is built with.

    Returns:
        the interpreter that has it now, for --inferena-python; of an engine in Rust, its executable.

    Raises:
        SetupError: a step failed.
    """
    if feature and not engine.cargo:
        raise SetupError(f"{engine.title} is not built by cargo, so it has no feature {feature}; leave --feature out")
    _check_tools(engine, feature)
    _system(engine)
    if engine.cargo:
        try:
            program = crates.build(engine.folder, engine.cargo, feature).program
        except crates.CargoError as error:
            raise SetupError(f"{engine.title}: {error}") from error
        if not engine.requires:
            return program
    if engine.executable:
        raise SetupError(f"{engine.title} runs {engine.executable}: {engine.remedy}")
    python = _environment(engine) if isolated else Path(sys.executable)
    wanted = [*engine.requires, *(WORKER if isolated else ())]
    built = [str(_wheel(engine, text)) for text in wanted if Requirement(text).name in engine.build]
    alone = [text for text in wanted if Requirement(text).name in engine.alone]
    plain = [text for text in wanted if Requirement(text).name not in {*engine.build, *engine.alone}]
    tested = ["--constraint", str(CONSTRAINTS)] if CONSTRAINTS.exists() and not isolated else []
    install = [*_pip(python), "install", *_target(python), *tested]
    _run([*install, *built, *plain], engine)
    if alone:
        _run([*install, "--no-deps", *alone], engine)
    return python


def _check_tools(engine: Framework, feature: str) -> None:
    """Refuse at once what would be compiled for minutes and fail; one that is there needs no tools."""
    for backend in engine.backends:
        if not feature or backend.feature != feature or engine.built(backend):
            continue
        if backend.platforms and sys.platform not in backend.platforms:
            raise SetupError(f"{engine.title}: {feature} is for {' and '.join(backend.platforms)} only")
        for tool, source in backend.build_tools.items():
            if shutil.which(tool) is None:
                raise SetupError(f"{engine.title}: {feature} is built with {tool}, which is not on PATH: {source}")


def _environment(engine: Framework) -> Path:
    folder = cache.root() / "engines" / engine.name
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not python.exists():
        print(f"{engine.title}: an environment of its own in {folder}", flush=True)
        venv.create(folder, with_pip=True)
    return python


def _pip(python: Path) -> list[str]:
    """uv, which is quicker, where it lies beside the interpreter or on PATH; else pip."""
    uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    return [uv, "pip"] if uv else [str(python), "-m", "pip"]


def _target(python: Path) -> list[str]:
    return ["--python", str(python)] if Path(_pip(python)[0]).stem == "uv" else []


def _wheel(engine: Framework, requirement: str) -> Path:
    """A distribution built on this machine; once for each version, way to build it, processor and Python."""
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
        _run(command, engine, CMAKE_ARGS=arguments, CMAKE_BUILD_PARALLEL_LEVEL=str(os.cpu_count() or 1))
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        making.rename(folder)
        kept = list(folder.glob("*.whl"))
    return kept[0]


def _constraints() -> list[str]:
    lines = CONSTRAINTS.read_text().splitlines() if CONSTRAINTS.exists() else []
    return [line for line in lines if line and not line.startswith("#")]


def _system(engine: Framework) -> None:
    """Packages of the operating system, where it is Debian's kin and we may."""
    dpkg = shutil.which("dpkg-query")
    if dpkg is None or not engine.debian:
        return
    listed = subprocess.run([dpkg, "-W", "-f", "${Package} ${db:Status-Status}\n", *engine.debian],
                            capture_output=True, text=True, check=False).stdout.splitlines()  # fmt: skip
    missing = [name for name in engine.debian if f"{name} installed" not in listed]
    if not missing:
        return
    if os.geteuid() != 0:
        raise SetupError(f"{engine.title} needs 'sudo apt-get install {' '.join(missing)}'; run that, then this again")
    _run(["apt-get", "update", "-q"], engine)
    _run(["apt-get", "install", "-q", "-y", "--no-install-recommends", *missing], engine)


def _run(command: Sequence[str], engine: Framework, **environment: str) -> None:
    done = subprocess.run(command, env=os.environ | environment, check=False)
    if done.returncode:
        raise SetupError(
            f"{engine.title}: '{' '.join(command)}' exited with status {done.returncode}; its own words stand above"
        )
