"""Where it is tried: one environment with all that the package needs for each Python, small ones on top of it.

PyTorch takes 4.5 GB. So an environment for a trial has only what is tried, and finds the rest in that of its Python.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PYTESTS = ("9.0", "newest")
Result = TypeVar("Result", bound=msgspec.Struct)


class InstallError(Exception):
    """Something cannot be installed, with the installer's reason."""


class Places:
    """What was made so far, in a folder; it is used again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.trials = folder, folder / "trials"
        self.trials.mkdir(parents=True, exist_ok=True)

    @cached_property
    def wheel(self) -> Path:
        """This package; all trials are of the one that was built first."""
        place = self.folder / "wheel"
        if not place.exists():
            run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(place), str(ROOT))
            (place / "commit").write_text(run("git", "-C", str(ROOT), "describe", "--always", "--dirty").strip())
        return next(place.glob("*.whl"))

    @property
    def commit(self) -> str:
        """What the wheel was built from."""
        return (self.wheel.parent / "commit").read_text()

    def base(self, version: str) -> Path:
        """The environment of a Python, without this package.

        Raises:
            InstallError: there is no such Python, or it cannot have what is needed.
        """
        place = self.folder / f"base-{version}"
        if not (done := place / "done").exists():
            _uv("venv", "--clear", "--python", interpreter(version), str(place))
            pins = ("--constraint", str(ROOT / "constraints.txt"), "--requirements", str(ROOT / "pyproject.toml"))
            _uv("pip", "install", "--python", str(place), *pins)
            done.touch()
        return place

    @contextlib.contextmanager
    def environment(self, version: str, *installed: str, ours: bool = True) -> Iterator[str]:
        """An interpreter with some distributions, with this package or without it, on top of a Python's environment.

        Raises:
            InstallError: something cannot be installed.
        """
        base = self.base(version)
        with tempfile.TemporaryDirectory(dir=self.trials, prefix="venv-") as place:
            _uv("venv", "--allow-existing", "--python", interpreter(version), place)
            if ours:
                _uv("pip", "install", "--python", place, "--no-deps", str(self.wheel))
            _uv("pip", "install", "--python", place, *installed)
            own, below = (next(folder.glob("lib/*/site-packages")) for folder in (Path(place), base))
            (own / "below.pth").write_text(f"{below.resolve()}\n")
            yield str(Path(place).resolve() / "bin" / "python")


def pytest_of(label: str) -> str:
    """What to install for `9.0` or `newest`, which is the one that constraints.txt has."""
    if label == "9.0":
        return "pytest==9.0.*"
    pins = (ROOT / "constraints.txt").read_text()
    return next(line for line in pins.splitlines() if line.startswith("pytest=="))


def version_of(python: str, distribution: str = "") -> str:
    """What an interpreter has of a distribution, or which one it is itself."""
    code = f"import importlib.metadata as found; print(found.version({distribution!r}))"
    code = code if distribution else "import platform; print(platform.python_version())"
    return run(python, "-c", code).strip()


def interpreter(version: str) -> str:
    """The path of a Python, on PATH or of pyenv.

    Raises:
        InstallError: there is none.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    places = [*pyenv.glob(f"versions/{version}.*/bin"), *map(Path, os.environ["PATH"].split(os.pathsep))]
    for place in places:
        python = place / f"python{version}"
        if python.exists() and not subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode:
            return str(python)
    raise InstallError(f"there is no Python {version} on this machine")


def kept(file: Path, kind: type[Result]) -> list[Result]:
    """The results that a file has."""
    lines = file.read_bytes().splitlines() if file.exists() else []
    return [msgspec.json.decode(line, type=kind) for line in lines]


def keep(file: Path, result: msgspec.Struct) -> None:
    """Add a result to a file."""
    with file.open("ab") as out:
        out.write(msgspec.json.encode(result) + b"\n")


def _uv(*arguments: str) -> None:
    run(str(Path(sys.executable).with_name("uv")), *arguments)


def run(*command: str) -> str:
    """What a command writes to stdout.

    Raises:
        InstallError: it failed.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InstallError(re.sub(r"\s+", " ", done.stderr.strip() or done.stdout)[-600:])
    return done.stdout
