"""What the fidelity scripts share: an adapter in this process, and steps that are timed side by side.

The scripts are run by hand on a quiet machine: `python -m benchmarks.fidelity.bare_loop`. docs/fidelity.md has what
they print.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferena import Program, Setup
from pytest_inferena.collect.target import Target
from pytest_inferena.commands.cli import registry
from pytest_inferena.machine import thread_budget
from pytest_inferena.processes.preparer import Prepared, Preparer
from pytest_inferena.processes.workload import Workload
from pytest_inferena.worker.loading import load_adapter
from pytest_inferena.worker.server import Weights

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_inferena import Step

SETTLE = 0.1
"""Seconds in which the threads of the step before go to sleep."""


def arguments(description: str | None, *others: str) -> argparse.Namespace:
    """The options that all scripts have, and the arguments of one of them."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--size", choices=("full", "tiny"), default="full")
    parser.add_argument("--rounds", type=int, default=15, help="how often each way is timed, in turns")
    for name in others:
        parser.add_argument(name)
    return parser.parse_args()


def prepared(model: str, framework: str, backend: str, size: str) -> tuple[Target, Prepared]:
    """A model prepared as for the benchmark."""
    known = registry()
    engine = known.frameworks[framework]
    way = next(candidate for candidate in engine.backends if candidate.name == backend)
    target = Target(known.models[model], engine, way)
    return target, Preparer(thread_budget(), 1800).prepare(Workload(target.model, size, "seeded"), target)


def compiled(target: Target, ready: Prepared, metric: str) -> Step:
    """One entry compiled by its adapter, in this process."""
    scratch = Path(tempfile.mkdtemp())
    backend = target.backend
    os.environ.update(target.framework.environment(backend, scratch, thread_budget()))
    module = load_adapter(target.framework.name, target.framework.adapter)
    adapter = module.Adapter(Setup(backend.name, backend.device, thread_budget(), scratch, ready.exchange))
    program = Program.read(ready.program)
    adapter.load(program, Weights(ready.program / "weights.safetensors"))
    step: Step = adapter.compile(program.entry(target.entry(metric)))
    return step


def stepping(step: Step) -> Callable[[], Any]:
    """A step and its synchronisation as one call."""

    def run() -> None:
        step()
        step.synchronize()

    return run


def side_by_side(title: str, ways: Mapping[str, Callable[[], Any]], rounds: int) -> None:
    """Time several ways in turns, so that a slow spell of the machine meets all of them, and print the medians.

    After a step its threads spin for a while. So each turn begins with a pause, and a step that is not timed.
    """
    samples: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        for _ in range(3):
            way()
    for _ in range(rounds):
        for name, way in ways.items():
            time.sleep(SETTLE)
            way()
            start = time.perf_counter()
            way()
            samples[name].append(time.perf_counter() - start)
    first = statistics.median(next(iter(samples.values())))
    print(f"\n{title}, medians of {rounds} in turns")
    for name, taken in samples.items():
        median = statistics.median(taken)
        print(f"  {name:<34} {median * 1e3:9.2f} ms   {median / first - 1:+.1%}", flush=True)
