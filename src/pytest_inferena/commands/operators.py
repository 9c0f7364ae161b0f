"""Starts the process that prints which operators engines have, and what of a model stands in the way."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferena.collect.offer import source_of
from pytest_inferena.collect.registry import Registry, read
from pytest_inferena.collect.shipped import with_shipped
from pytest_inferena.machine import thread_budget

if TYPE_CHECKING:
    import argparse

    from pytest_inferena.collect.model import Model


def describe(commands: Any) -> argparse.ArgumentParser:
    """Add the command to the command line."""
    made: argparse.ArgumentParser = commands.add_parser(
        "operators", help="operator × engine; of a model: what each engine runs of it, and what stands in the way"
    )
    made.add_argument("model", nargs="?", help="a name of one that is registered, or a source as for --inferena-model")
    made.add_argument("--engine", action="append", default=[], metavar="NAME", help="this one alone; may be repeated")
    made.add_argument("--size", choices=("full", "tiny"), default="full", help="as --inferena-size (default: full)")
    return made


def run(registry: Registry, options: argparse.Namespace) -> int:
    """Print it for every engine that is installed, and which are not.

    Raises:
        RegistryError: the model is neither registered nor a source, or there is no such engine.
    """
    model = _model(registry, options.model) if options.model else None
    engines, missing = [], []
    for engine in with_shipped(registry, {}).chosen(options.engine).values():
        ready = [one for one in engine.backends if not engine.missing(one) and not engine.in_software(one)]
        if ready:
            engines.append((str(engine.folder), ready[0].name))
        else:
            missing.append(engine.title)
    request = {
        "engines": engines, "model": str(model.source) if model else "", "size": options.size,
        "weights": model.usual_weights if model else "", "threads": thread_budget(), "path": sys.path,
    }  # fmt: skip
    command = [sys.executable, "-m", "pytest_inferena.explain.operators", json.dumps(request)]
    code = subprocess.run(command, check=False).returncode
    if missing:
        print(f"not installed: {', '.join(missing)}; inferena doctor tells how")
    return code


def _model(registry: Registry, given: str) -> Model:
    """A registered model, or that of a source."""
    if given in registry.models:
        return registry.models[given]
    (model,) = read([source_of("MODEL", given, Path.cwd())], []).models.values()
    return model
