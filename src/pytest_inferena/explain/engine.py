"""The engine whose results are in doubt, in a worker as always: it runs one piece after another."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from safetensors.numpy import load_file

from pytest_inferena.cell import Outcome
from pytest_inferena.collect.loop import ONCE
from pytest_inferena.collect.settings import DEADLINES
from pytest_inferena.processes.client import Worker, WorkerFailed
from pytest_inferena.session.starting import greet, start
from pytest_inferena.worker.format import Unsupported
from pytest_inferena.worker.loading import load_adapter

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_inferena.engines.framework import Backend, Framework
    from pytest_inferena.explain.pieces import Piece
    from pytest_inferena.verdict.tensors import Array
    from pytest_inferena.worker.capabilities import Operators


class Engine:
    """One backend. After a crash the next piece gets a fresh worker."""

    def __init__(self, framework: Framework, backend: Backend, threads: int, folder: Path) -> None:
        self.framework, self.backend, self.threads, self.folder = framework, backend, threads, folder
        self.kind: Any = load_adapter(framework.name, framework.adapter).Adapter if framework.exchange else None
        self.exchange = folder / "exchange" if framework.exchange else None
        self.hello: dict[str, Any] = {}
        self.worker: Worker | None = None
        self._runs = 0

    def run(self, piece: Piece) -> dict[str, Array]:
        """What it computes of a piece: outputs by name, or `loss` and `grad:PARAMETER`.

        Raises:
            WorkerFailed: it lacks something, or broke.
        """
        self._runs += 1
        place = self.folder / f"piece-{self._runs}"
        worker = self._worker()
        try:
            self.write(piece, place / "program")
            name, file = piece.entry.name, place / "outputs.safetensors"
            self._ask(worker, "load", program=str(place / "program"), entries=[name])
            self.hello |= {"ran": self._ask(worker, "compile", entry=name)["ran"]}
            self._ask(worker, "measure", entry=name, loop=ONCE)  # a cell is judged by its last step, not by its first
            self._ask(worker, "outputs", entry=name, file=str(file))
            found: dict[str, Array] = load_file(file)
        except Unsupported as error:
            raise WorkerFailed(Outcome.UNSUPPORTED, str(error)) from error
        except WorkerFailed as failure:
            if failure.outcome is not Outcome.UNSUPPORTED:
                self.close()
            raise
        finally:
            shutil.rmtree(place, ignore_errors=True)
        return found

    def write(self, piece: Piece, folder: Path) -> None:
        """Write a piece as the engine reads it; its exchange files go to where the worker looks for them."""
        operators: Operators | None = self.kind.operators if self.kind else self.hello.get("operators")
        program = piece.write(folder, operators)
        if self.exchange:
            shutil.rmtree(self.exchange, ignore_errors=True)
            self.exchange.mkdir()
            try:
                self.kind.prepare(program, self.exchange)
            except Unsupported:
                raise
            except Exception as error:
                raise WorkerFailed(Outcome.ERROR, f"prepare: {type(error).__name__}: {error}") from error

    def greet(self) -> dict[str, Any]:
        """Start a worker; what it says of itself."""
        self._worker()
        return self.hello

    def close(self) -> None:
        """End the worker."""
        if self.worker is not None:
            self.worker.close()
            shutil.rmtree(self.worker.folder, ignore_errors=True)
            self.worker = None

    def _worker(self) -> Worker:
        if self.worker is None:
            self.worker = start(self.framework, self.backend, self.threads, self.folder / f"worker-{self._runs}")
            self.hello = greet(self.worker, self.backend, self.threads, self._deadline("hello"), self.exchange)
        return self.worker

    def _ask(self, worker: Worker, request: str, **fields: Any) -> dict[str, Any]:
        return worker.ask(request, self._deadline(request), **fields)

    def _deadline(self, request: str) -> float:
        return self.framework.timeouts.get(request, DEADLINES[request])
