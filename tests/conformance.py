"""What the conformance suite holds every worker to, and the workers there are.

A worker is any command that speaks the protocol: those of `adapters/`, and the one that the environment variable
INFERENA_WORKER gives. Everything goes through `Worker` and raw lines on its pipes; nothing looks inside.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_inferena.collect.model import Model
from pytest_inferena.collect.target import Target
from pytest_inferena.engines.framework import Backend, Framework
from pytest_inferena.processes.client import Launch, Worker, WorkerFailed
from pytest_inferena.processes.preparer import Prepared, Preparer
from pytest_inferena.processes.workload import Workload
from pytest_inferena.verdict.gate import judge
from pytest_inferena.verdict.tensors import GoldenFile
from pytest_inferena.worker import protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PYTHON_WORKER = ROOT / "src" / "pytest_inferena" / "worker" / "__main__.py"
MODEL = ROOT / "tests" / "project" / "mlp.py"
KNOWN = dict.fromkeys(("ctranslate2", "inferi", "llamacpp"), ROOT / "benchmarks" / "models" / "smollm2.py")
"""Engines that run architectures they know, not graphs: with a model that they do know."""
SLOW = frozenset({"aot", "inductor"})
"""Backends that compile for minutes what another backend of the same adapter runs at once."""
SLOW_ENGINES = frozenset({"max"})
"""Engines that compile a graph of one node for a minute: only with INFERENA_SLOW=1."""
DEADLINE = 180.0 if not os.environ.get("INFERENA_SLOW") else 900.0
QUICK = {"min_rounds": 3, "max_rounds": 3, "warmup": False}


@dataclass(frozen=True)
class Engine:
    """A worker to be tested: how to start it, and what it says of itself."""

    framework: Framework
    backend: Backend
    command: tuple[str, ...]

    @property
    def python(self) -> bool:
        """Whether it is the Python worker with an adapter."""
        return str(PYTHON_WORKER) in self.command

    def target(self) -> Target:
        """The engine with the suite's model, or with one that it knows."""
        return Target(Model.from_file(KNOWN.get(self.framework.name, MODEL)), self.framework, self.backend)

    def workload(self) -> Workload:
        """What is prepared for it."""
        return Workload(self.target().model, "tiny", "seeded")


def engines() -> dict[str, Engine]:
    """Every registered adapter on its first quick backend, the documented example, and INFERENA_WORKER's command."""
    found = {}
    for file in sorted(ROOT.glob("adapters/*/adapter.toml")):
        framework = Framework.read(file.parent)
        if framework.name in SLOW_ENGINES and not os.environ.get("INFERENA_SLOW"):
            continue
        backend = next(backend for backend in framework.backends if backend.name not in SLOW)
        found[framework.name] = Engine(framework, backend, framework.command(backend))
    example = Framework(
        "example", "Example", "any", ROOT / "docs", ("numpy",), training="none", executable="example_worker.py"
    )
    found["example"] = Engine(
        example, Backend("numpy", "cpu"), (sys.executable, str(ROOT / "docs" / example.executable))
    )
    if given := os.environ.get("INFERENA_WORKER"):
        training = os.environ.get("INFERENA_WORKER_TRAINING", "autograd")
        framework = Framework("given", "given", "any", Path(), training=training, executable=given)
        name, _, device = os.environ.get("INFERENA_WORKER_BACKEND", "cpu:cpu").partition(":")
        found["given"] = Engine(framework, Backend(name, device or "cpu"), tuple(shlex.split(given)))
    return found


def captured(engine: Engine, preparer: Preparer | None = None) -> Prepared:
    """The suite's model, whatever the engine has: no worker is asked. The cache that INFERENA_CACHE names keeps it."""
    return (preparer or Preparer(1, 600)).prepare(engine.workload(), engine.target())


def prepare(engine: Engine) -> Prepared:
    """The suite's model, for an engine that says what it has."""
    preparer = Preparer(1, 600)
    prepared = captured(engine, preparer)
    with tempfile.TemporaryDirectory() as folder, client(engine, prepared, Path(folder)) as made:
        if not (operators := made.hello().get("operators")):
            return prepared
    return preparer.expand(engine.workload(), prepared, engine.framework.entries, operators)


class Client:
    """A worker of an engine with requests filled in."""

    def __init__(self, engine: Engine, prepared: Prepared, folder: Path) -> None:
        self.engine, self.prepared, self.folder = engine, prepared, folder
        (folder / "scratch").mkdir(parents=True)
        env = engine.framework.environment(engine.backend, folder / "scratch", 1)
        self.worker = Worker(Launch(engine.command, 1, env, folder))

    def ask(self, request: str, **fields: Any) -> dict[str, Any]:
        """A request and its answer."""
        return self.worker.ask(request, DEADLINE, **fields)

    def refused(self, request: str, **fields: Any) -> WorkerFailed:
        """The failure that a request ends in."""
        with pytest.raises(WorkerFailed) as caught:
            self.ask(request, **fields)
        return caught.value

    def raw(self, line: bytes) -> dict[str, Any]:
        """The answer to a line that need not be a request."""
        until = time.monotonic() + DEADLINE
        self.worker._channel.send(line, until)
        reply = protocol.parse(self.worker._channel.receive(until))
        protocol.check("", reply)
        return reply

    def hello(self, version: int = protocol.VERSION, exchange: Path | None = None) -> dict[str, Any]:
        """Greet the worker as the harness does, with other exchange files where some are given."""
        exchange = exchange or self.prepared.exchange
        return self.ask(
            "hello", protocol=version, backend=self.engine.backend.name, device=self.engine.backend.device,
            threads=1, scratch=str(self.folder / "scratch"), exchange=str(exchange) if exchange else None,
        )  # fmt: skip

    def load(self, program: Path | None = None) -> dict[str, Any]:
        """Load all entries of the model, or of a changed copy of it."""
        return self.ask("load", program=str(program or self.prepared.program), entries=self.engine.target().entries())

    def verdict(self, metric: str) -> str:
        """Outcome of the entry that a metric runs, as it was computed last."""
        file = self.folder / f"{metric}.safetensors"
        self.ask("outputs", entry=self.engine.target().entry(metric), file=str(file))
        facts = self.prepared.golden[metric]
        golden = GoldenFile(self.prepared.folder / f"golden-{metric}.safetensors", facts["none"])
        return judge(golden, facts["tensors"], GoldenFile(file)).outcome

    def changed(self, name: str, change: Any) -> Path:
        """A copy of the Program in which one file is what `change` makes of its bytes."""
        copy = self.folder / f"changed-{len(list(self.folder.iterdir()))}"
        copy.mkdir()
        for file in self.prepared.program.iterdir():
            if file.is_file():
                shutil.copy(file, copy)
        (copy / name).write_bytes(change((copy / name).read_bytes()))
        return copy


def remade(engine: Engine, program: Path) -> Path | None:
    """The exchange files of a changed Program, as the preparer makes them; None for an engine without."""
    if not engine.framework.exchange:
        return None
    request = program / "request.json"
    fields: dict[str, Any] = {
        "part": "exchange",
        "part_folder": "remade",
        "folder": str(program),
        "program": str(program),
        "entries": engine.framework.entries,
    }
    of = {"framework": engine.framework.name, "adapter": str(engine.framework.adapter)}
    request.write_text(json.dumps(fields | of))
    subprocess.run([sys.executable, "-m", "pytest_inferena.prepare", str(request)], check=True, capture_output=True)
    return program / "remade"


def with_unknown_operator(document: bytes) -> bytes:
    """An entry's document in which the second node's operator is one that nobody has."""
    entry = json.loads(document)
    entry["nodes"][1]["op"] = "no_such_operator"
    return json.dumps(entry).encode()


@contextlib.contextmanager
def client(engine: Engine, prepared: Prepared, folder: Path) -> Iterator[Client]:
    """A fresh worker, ended afterwards."""
    made = Client(engine, prepared, folder)
    try:
        yield made
    finally:
        made.worker.kill()
