"""Finds the cell that `inferena explain` names, and starts the process that explains it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferena.cell import DEFAULTS, INPUTS, METRICS
from pytest_inferena.collect.offer import source_of
from pytest_inferena.collect.registry import Registry, read
from pytest_inferena.collect.settings import count_of, threads_of
from pytest_inferena.collect.shipped import with_shipped
from pytest_inferena.engines.framework import RegistryError
from pytest_inferena.machine import thread_budget

if TYPE_CHECKING:
    import argparse

    from pytest_inferena.collect.target import Target

MANY = 6
"""How many cells an error names."""


def find(registry: Registry, given: str) -> tuple[Target, str]:
    """The target and the metric of the one cell that a text names.

    Args:
        registry: models and engines.
        given: `benchmarks/test_inference.py::test_inference[my_net-jax-xla]`, `my_net-jax-xla-inference`, or words
            of these that no other cell has which can run here: `my_net jax training`.

    Raises:
        RegistryError: no cell is called so, or several are.
    """
    asked = given.rpartition("::")[2]
    cells = {f"{target.id}-{metric}": (target, metric) for target in registry.targets for metric in METRICS}
    exact = [name for name, (target, metric) in cells.items() if asked in {name, f"test_{metric}[{target.id}]"}]
    words = [word.removeprefix("test_") for word in re.split(r"[^\w.]+", asked) if word]
    found = exact or [name for name in cells if _has(name, words)]
    if len(found) > 1:
        ready = [name for name in found if not cells[name][0].framework.missing(cells[name][0].backend)]
        found = ready or found
    if len(found) == 1:
        return cells[found[0]]
    if not found:
        raise RegistryError(f"no cell is called {given!r}; 'pytest benchmarks --collect-only -q' lists them")
    shown = ", ".join(found[:MANY]) + (", …" if len(found) > MANY else "")
    raise RegistryError(f"{given!r} names {len(found)} cells: {shown}; say more of its name")


def _has(name: str, words: list[str]) -> bool:
    """Whether all words are parts of a cell's name."""
    return bool(words) and set(words) <= {*name.split("-")}


def describe(commands: Any) -> argparse.ArgumentParser:
    """Add the command to the command line."""
    made: argparse.ArgumentParser = commands.add_parser(
        "explain", help="which operator goes wrong where a cell is CLOSE or FAILs"
    )
    made.add_argument(
        "cell", nargs="+", help="its name as pytest prints it, or words of it that no other has; or a folder of -o"
    )
    made.add_argument("--size", choices=("full", "tiny"), default="full", help="as --inferena-size (default: full)")
    made.add_argument("--weights", default="", metavar="SOURCE", help="as --inferena-weights")
    made.add_argument("--threads", default=thread_budget(), metavar="N", help="as --inferena-threads")
    made.add_argument(
        "--model", action="append", metavar="SOURCE", help="as --inferena-model, where no conftest.py registers it"
    )
    made.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="where to write what shows it alone")
    return made


def run(registry: Registry, options: argparse.Namespace) -> int:
    """Explain a cell, or run again what a search has left in a folder. What it says goes straight to the terminal.

    Raises:
        RegistryError: no cell is called so, or several are.
        RangeError: a number is out of its range.
    """
    given, threads = " ".join(options.cell), threads_of("--threads", options.threads)
    piece = Path(given) / "piece.json"
    if piece.exists():
        request = json.loads(piece.read_text(encoding="utf-8")) | {"piece": str(Path(given).absolute()), "name": given}
    else:
        if options.model:
            models = read([source_of("--model", text, Path.cwd()) for text in options.model], []).models
            registry = Registry(models, with_shipped(registry, {}).frameworks)
        batch, seq = (re.search(rf"\b{word}(\d+)\b", given) for word in ("batch", "seq"))  # which the name has
        registry = replace(
            registry, batches=(batch and count_of("batch", batch[1]),), seqs=(seq and count_of("seq", seq[1]),),
            inputs=tuple(word for word in INPUTS if word == DEFAULTS["inputs"] or re.search(rf"\b{word}\b", given)),
        )  # fmt: skip
        target, metric = find(registry, given)
        name = f"{target.id}-{metric}"
        request = {
            "name": name, "model": str(target.model.source), "adapter": str(target.framework.folder),
            "backend": target.backend.name, "metric": metric, "size": options.size,
            "batch": target.batch, "seq": target.seq, "inputs": target.inputs,
            "weights": options.weights or target.model.usual_weights,
            "threads": threads,
            "output": str((options.output or Path(".inferena") / f"explain-{name}").absolute()),
        }  # fmt: skip
    command = [sys.executable, "-m", "pytest_inferena.explain", json.dumps(request | {"path": sys.path})]
    return subprocess.run(command, check=False).returncode
