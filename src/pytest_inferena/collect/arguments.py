"""Where this project's own benchmarks lie, and what names them on the command line with --pyargs."""

from __future__ import annotations

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
