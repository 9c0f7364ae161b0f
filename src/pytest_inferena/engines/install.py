"""`inferena setup`: installs what an engine requires, and builds what should be built on the machine it runs on."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from pytest_inferena.engines.distributions import SetupError, run
from pytest_inferena.system import is_root

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_inferena.engines.framework import Framework


def setup(engine: Framework, *, isolated: bool = False, feature: str = "") -> Path:
    """Install an engine; progress goes to stdout.

    Args:
        engine: what to install; one that is there already is left alone.
        isolated: whether it gets an environment of its own, because its requirements clash with others'.
        feature: the feature of cargo that an engine in Rust is built with.

    Returns:
        the interpreter that has it now, for --inferena-python; for an engine in Rust its executable.

    Raises:
        SetupError: a step failed.
    """
    engine.kind.require(feature)
    _system(engine)
    return engine.kind.install(feature, isolated=isolated)


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
