"""An engine with a worker of its own, for tests that call adapters."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import load_file, save_file

from pytest_inferena.bench import greet
from pytest_inferena.worker import Setup, Unsupported
from pytest_inferena.worker.client import Launch, Worker, WorkerFailed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_inferena.framework import Backend
    from pytest_inferena.worker import Entry, Program


class Outside:
    """An engine with a worker of its own, used as if it were an adapter in this process."""

    def __init__(self, command: tuple[str, ...], backend: Backend, folder: Path) -> None:
        self.setup = Setup(backend.name, backend.device, 1, folder)
        self.worker = Worker(Launch(command, 1, {}, folder))
        greet(self.worker, backend, 1, 60)

    def load(self, program: Program, weights: Mapping[str, Any]) -> None:
        """Write them; they are read with an entry."""
        program.write()
        save_file({name: np.asarray(value, order="C") for name, value in weights.items()},
                  program.folder / "weights.safetensors")  # fmt: skip

    def compile(self, entry: Entry) -> Outside:
        """An adapter's step too, of the entry that was compiled last."""
        folder, self.entry = self.setup.scratch, entry.name
        (folder / f"{entry.name}.json").write_text(json.dumps(entry.to_json()))
        for kind in ("inputs", "constants"):
            arrays = {name: np.asarray(value, order="C") for name, value in entry.arrays(kind).items()}
            save_file(arrays, folder / f"{entry.name}.{kind}.safetensors")
        self.ask("load", program=str(folder), entries=[entry.name])
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
