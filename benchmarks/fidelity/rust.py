"""What the scripts for engines in Rust share. A program written by hand is a worker too; both are timed in turns."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from benchmarks.fidelity.common import SETTLE, prepared
from safetensors.numpy import load_file

from pytest_inferena.engines.framework import Backend
from pytest_inferena.machine import thread_budget
from pytest_inferena.processes.client import Launch, Worker
from pytest_inferena.session.starting import greet
from pytest_inferena.store import cache

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_inferena.collect.target import Target
    from pytest_inferena.processes.preparer import Prepared

ENTRY = "inference"
PATIENCE = 900.0
TOGETHER = {"min_rounds": 2, "max_rounds": 2, "few": 2, "warmup": False}
AGREE = 1e-4


def built(name: str) -> str:
    """The program in rust/NAME, built in the same way as the engines."""
    target = cache.root() / "cargo"
    manifest = Path(__file__).parent / "rust" / name / "Cargo.toml"
    subprocess.run(["cargo", "build", "--release", "--manifest-path", manifest, "--target-dir", target], check=True)
    return str(target / "release" / f"fidelity-{name}")


class Way:
    """A worker with one entry compiled."""

    def __init__(self, command: tuple[str, ...], backend: Backend, ready: Prepared, env: Mapping[str, str]) -> None:
        self.env, threads, folder = env, thread_budget(), Path(tempfile.mkdtemp())
        (folder / "scratch").mkdir()
        self.worker = Worker(Launch(command, threads, env, folder))
        greet(self.worker, backend, threads, 60, ready.exchange)
        self.ask("load", program=str(ready.program), entries=[ENTRY])
        self.ask("compile", entry=ENTRY)

    def ask(self, request: str, **fields: Any) -> dict[str, Any]:
        """A request, and its answer."""
        return self.worker.ask(request, PATIENCE, **fields)

    def milliseconds(self) -> float:
        """Milliseconds of one step. A step before it is not counted, so that the other way's threads are asleep."""
        time.sleep(SETTLE)
        return float(self.ask("measure", entry=ENTRY, loop=TOGETHER)["ns"][-1] / 1e6)

    def outputs(self) -> dict[str, np.ndarray[Any, Any]]:
        """The results of its last step."""
        file = self.worker.folder / "outputs.safetensors"
        self.ask("outputs", entry=ENTRY, file=str(file))
        found: dict[str, np.ndarray[Any, Any]] = load_file(file)
        return found


def adapter(model: str, framework: str, backend: str, size: str) -> tuple[Target, Prepared, Way]:
    """The engine's own worker."""
    target, ready = prepared(model, framework, backend, size)
    env = target.framework.environment(target.backend, Path(tempfile.mkdtemp()), thread_budget())
    return target, ready, Way(target.framework.command(target.backend), target.backend, ready, env)


def by_hand(program: str, backend: str, ready: Prepared, env: Mapping[str, str] | None = None) -> Way:
    """A program of built(). The backend's name tells it what to run."""
    return Way((program,), Backend(backend, "cpu"), ready, env or {})


def in_turns(title: str, ways: Mapping[str, Way], rounds: int) -> None:
    """Print the medians, and how far each way's results lie from the first one's. Fewer rows are the last ones.

    Raises:
        AssertionError: they compute different things.
    """
    samples: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            samples[name].append(way.milliseconds())
    right = next(iter(ways.values())).outputs()["output"]
    first = statistics.median(next(iter(samples.values())))
    print(f"\n{title}, {ENTRY}, medians of {rounds} in turns")
    for name, way in ways.items():
        result = way.outputs()["output"].reshape(-1, right.shape[-1])
        off = float(np.abs(result - right.reshape(-1, right.shape[-1])[-len(result) :]).max())
        median = statistics.median(samples[name])
        print(f"  {name:<44} {median:9.2f} ms   {median / first - 1:+.1%}   off by {off:.1e}", flush=True)
        assert off <= AGREE, "the two are not the same work"
        way.worker.close()
