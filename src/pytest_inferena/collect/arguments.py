"""What the command line names with --pyargs, and where this project's own benchmarks lie."""

from __future__ import annotations

import importlib.util
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
NAME = f"{PACKAGE.name}.benchmarks"
INSTALLED = (PACKAGE / "benchmarks").exists()
BENCHMARKS = (PACKAGE if INSTALLED else PACKAGE.parents[1]) / "benchmarks"
"""This project's own models and cells: a wheel has them in the package, a checkout beside `src`."""


def path_of(argument: str) -> str:
    """This project's own benchmarks as a path, where they cannot be imported; any other argument as it is."""
    name, colons, test = argument.partition("::")
    if INSTALLED or not f"{name}.".startswith(f"{NAME}."):
        return argument
    path = BENCHMARKS.joinpath(*name.removeprefix(NAME).split(".")[1:])
    path = path if path.is_dir() else path.with_suffix(".py")
    return f"{path}{colons}{test}" if path.exists() else argument


def folder_of(argument: str) -> str:
    """The folder of an importable package; any other argument of the command line as it is."""
    name = argument.partition("::")[0]
    try:
        spec = importlib.util.find_spec(name) if name.replace(".", "").isidentifier() else None
    except ImportError:
        return argument
    return str(Path(spec.origin).parent) if spec is not None and spec.origin else argument
