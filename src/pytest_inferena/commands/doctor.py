"""What is there and what is missing: the machine, the cache, the state of every engine."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferena import machine
from pytest_inferena.cell import Outcome
from pytest_inferena.collect.settings import DEADLINES
from pytest_inferena.machine import devices
from pytest_inferena.processes.client import WorkerFailed
from pytest_inferena.results import plain
from pytest_inferena.session.starting import greet, start
from pytest_inferena.store import cache

if TYPE_CHECKING:
    from pytest_inferena.collect.registry import Registry
    from pytest_inferena.engines.framework import Backend, Framework


def examine(registry: Registry) -> dict[str, Any]:
    """All of this as data. Every engine that is installed is started and greeted once."""
    folder = cache.root()
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "platform": plain(machine.describe()),
        "devices": [str(device) for device in devices.listed()],
        "threads": machine.thread_budget(),
        "cache": {
            "folder": str(folder),
            "mib": cache.size_of(folder) >> 20,
            "free_mib": shutil.disk_usage(folder).free >> 20,
        },
        "frameworks": [
            {
                "name": engine.name,
                "title": engine.title,
                "versions": dict(engine.versions),
                "backends": [
                    {"name": backend.name, "device": backend.device, **state(engine, backend)}
                    for backend in engine.backends
                ],
            }
            for engine in registry.frameworks.values()
        ],
        "models": [
            {"name": model.name, "title": model.title, "parameters": model.parameters, "large": model.large}
            for model in registry.models.values()
        ],
    }


def state(engine: Framework, backend: Backend) -> dict[str, str]:
    """`missing`: why a backend cannot run, "" if it can; `ran`: what its worker says of itself."""
    if reason := engine.missing(backend):
        return {"missing": reason, "ran": ""}
    with tempfile.TemporaryDirectory() as folder:
        try:
            worker = start(engine, backend, machine.thread_budget(), Path(folder) / "worker")
        except WorkerFailed as failure:
            return {"missing": str(failure), "ran": ""}
        try:
            reply = greet(worker, backend, machine.thread_budget(), engine.timeouts.get("hello", DEADLINES["hello"]))
        except WorkerFailed as failure:
            if failure.outcome is Outcome.UNSUPPORTED:  # it works, and says what is not there
                return {"missing": str(failure), "ran": ""}
            return {"missing": f"installed, but broken: {failure}; {engine.remedy}", "ran": ""}
        finally:
            worker.close()
    return {"missing": "", "ran": reply["ran"]}
