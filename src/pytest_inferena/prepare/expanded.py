"""A Program for an engine: what it lacks is expanded, all else is as it was."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from pytest_inferena.prepare.entries import write_entry
from pytest_inferena.program.expand import expand
from pytest_inferena.store.disk import link

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from pytest_inferena.worker.capabilities import Operators
    from pytest_inferena.worker.format import Program


def write_expanded(
    program: Program, operators: Operators, entries: Iterable[str], folder: Path
) -> Mapping[str, Mapping[str, int]]:
    """Write entries as an engine can run them, into a Program's folder of its own.

    Args:
        program: the model's.
        operators: what the engine has.
        entries: those it will run; one that the Program lacks is left out.
        folder: a new folder, on the file system of the Program's, whose weights it shares.

    Returns:
        by entry, how many nodes of which operators were expanded; empty where nothing was, and nothing is written then.
    """
    there = [program.entry(name) for name in entries if (program.folder / f"{name}.json").exists()]
    made = {entry.name: (entry, *expand(entry, operators)) for entry in there}
    found = {name: counts for name, (_, _, counts) in made.items() if counts}
    if not found:
        return {}
    folder.mkdir()
    replace(program, folder=folder).write()
    link(program.folder / "weights.safetensors", folder)
    for name, (entry, graph, _) in made.items():
        inputs = {spec.name: torch.from_numpy(entry.arrays("inputs")[spec.name]) for spec in entry.inputs}
        write_entry(folder, name, graph, inputs)
    return found
