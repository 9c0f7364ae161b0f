"""Engines that read files, used in a test as if they were adapters in this process."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import load_file, save_file

from pytest_inferena.processes.client import Launch, Worker, WorkerFailed
from pytest_inferena.session.starting import greet
from pytest_inferena.worker import Adapter, Program, Setup, Unsupported

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_inferena.engines.framework import Backend, Framework
    from pytest_inferena.worker import Entry
    from pytest_inferena.worker.capabilities import Operators


class Exchanging:
    """An adapter that runs what it has prepared of a Program."""

    def __init__(self, kind: type[Adapter], setup: Setup) -> None:
        self.setup, self.kind, self.adapter = setup, kind, kind(setup)
        self.operators = kind.operators

    def load(self, program: Program, weights: Mapping[str, Any]) -> None:
        """Write them; they are read with an entry."""
        self.weights = weights
        write(program, weights)

    def compile(self, entry: Entry) -> Any:
        """The adapter's step of an entry."""
        program = prepared(self.kind, self.setup, entry)
        self.adapter.load(program, self.weights)
        return self.adapter.compile(program.entry(entry.name))


class Outside:
    """An engine with a worker of its own; `kind`, an adapter, prepares what it reads in place of the Program."""

    def __init__(self, framework: Framework, backend: Backend, setup: Setup, kind: type[Adapter] | None) -> None:
        self.setup, self.kind = setup, kind
        env = framework.environment(backend, setup.scratch, 1)
        self.worker = Worker(Launch(framework.command(backend), 1, env, setup.scratch))
        said = greet(self.worker, backend, 1, 60, setup.exchange).get("operators")
        self.operators: Operators | None = kind.operators if kind else said

    def load(self, program: Program, weights: Mapping[str, Any]) -> None:
        """Write them; they are read with an entry."""
        write(program, weights)

    def compile(self, entry: Entry) -> Outside:
        """An adapter's step too, of the entry that was compiled last."""
        self.entry = entry.name
        if self.kind:
            prepared(self.kind, self.setup, entry)
        else:
            write_entry(self.setup, entry, entry.name)
        self.ask("load", program=str(self.setup.scratch), entries=[entry.name])
        self.ask("compile", entry=entry.name)
        return self

    def __call__(self) -> None:
        """A step."""
        self.ask("measure", entry=self.entry, loop={"min_rounds": 1, "max_rounds": 1, "few": 1, "warmup": False})

    def synchronize(self) -> None:
        """Nothing: the worker has waited."""

    def outputs(self) -> dict[str, Any]:
        """By name."""
        file = self.setup.scratch / "outputs.safetensors"
        self.ask("outputs", entry=self.entry, file=str(file))
        found: dict[str, Any] = load_file(file)
        return found

    def ask(self, request: str, **fields: Any) -> None:
        """A request; what the engine lacks is raised as an adapter does."""
        try:
            self.worker.ask(request, 60, **fields)
        except WorkerFailed as failure:
            raise Unsupported(str(failure)) if failure.outcome == "unsupported" else failure from failure


def write(program: Program, weights: Mapping[str, Any]) -> None:
    """The Program's document, and the weights."""
    program.write()
    arrays = {name: np.asarray(value, order="C") for name, value in weights.items()}
    save_file(arrays, program.folder / "weights.safetensors")


def write_entry(setup: Setup, entry: Entry, name: str) -> None:
    """An entry under a name, with its inputs and constants."""
    folder = setup.scratch
    (folder / f"{name}.json").write_text(json.dumps(entry.to_json() | {"entry": name}))
    for kind in ("inputs", "constants"):
        arrays = {key: np.asarray(value, order="C") for key, value in entry.arrays(kind).items()}
        save_file(arrays, folder / f"{name}.{kind}.safetensors")


def prepared(kind: type[Adapter], setup: Setup, entry: Entry) -> Program:
    """The Program with this entry, also in place of those that all Programs have; its exchange files are made."""
    for name in {entry.name, "inference", "latency"}:
        write_entry(setup, entry, name)
    program = Program.read(setup.scratch)
    assert setup.exchange
    kind.prepare(program, setup.exchange)
    return program
