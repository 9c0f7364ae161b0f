"""`inferena setup`: installs what an engine requires, and builds what should be built on the machine it runs on."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

from packaging.requirements import Requirement

from pytest_inferena.engines.distributions import SetupError, run
from pytest_inferena.system import is_root

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_inferena.engines.framework import Backend, Framework


def setup(engine: Framework, *, isolated: bool = False, feature: str = "", backend: str = "") -> Path:
    """Install an engine; progress goes to stdout.

    Args:
        engine: what to install; one that is there already is left alone.
        isolated: whether it gets an environment of its own, because its requirements clash with others'.
        feature: the feature of cargo that an engine in Rust is built with.
        backend: one of the engine's, with what it needs of its own.

    Returns:
        the interpreter that has it now, for --inferena-python; for an engine in Rust its executable.

    Raises:
        SetupError: a step failed.
    """
    own = engine.name if isolated else ""
    if backend:
        plain = engine
        engine, asked = _for_backend(engine, backend, isolated=isolated)
        feature = feature or asked.feature
        if asked.build:
            own = f"{engine.name}-{backend}"
            if engine.exchange:  # the preparer, which is here, needs it too
                plain.kind.install("", "")
    engine.kind.require(feature)
    _system(engine)
    return engine.kind.install(feature, own)


def _for_backend(engine: Framework, name: str, *, isolated: bool) -> tuple[Framework, Backend]:
    """The engine with what a backend requires, and the backend.

    Raises:
        SetupError: there is no such backend, or its distributions would break what is installed here.
    """
    backend = next((one for one in engine.backends if one.name == name), None)
    if backend is None:
        known = ", ".join(one.name for one in engine.backends)
        raise SetupError(f"{engine.title} has no backend {name}; there are {known}")
    requires = (*(one for one in engine.requires if Requirement(one).name not in backend.replaces), *backend.requires)
    if not isolated and (rivals := [one for one in backend.replaces if one in engine.versions]):
        raise SetupError(
            f"{engine.title}: {' and '.join(backend.requires)} and {' and '.join(rivals)}, which is installed, own the "
            f"same module: inferena setup {engine.name} --isolated --backend {name}"
        )
    build, debian = {**engine.build, **backend.build}, (*engine.debian, *backend.debian)
    return replace(engine, requires=requires, build=build, debian=debian), backend


def _system(engine: Framework) -> None:
    """Install packages of the operating system, if it is Debian or alike and we may."""
    dpkg = shutil.which("dpkg-query")
    if dpkg is None or not engine.debian:
        return
    listed = subprocess.run([dpkg, "-W", "-f", "${Package} ${db:Status-Status}\n", *engine.debian],
                            capture_output=True, text=True, check=False).stdout.splitlines()  # fmt: skip
    missing = [name for name in engine.debian if f"{name} installed" not in listed]
    if not missing:
        return
    if not is_root():
        raise SetupError(f"{engine.title} needs 'sudo apt-get install {' '.join(missing)}'; run that, then this again")
    run(["apt-get", "update", "-q"], engine)
    run(["apt-get", "install", "-q", "-y", "--no-install-recommends", *missing], engine)
