"""The command `inferena`: what is there, what is missing, what the cache takes."""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferena import cache
from pytest_inferena.registry import Registry, RegistryError, collect

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent


def main(arguments: list[str] | None = None) -> int:
    """Run a command; 0, or 1 after one line on what is wrong."""
    parser = argparse.ArgumentParser(prog="inferena", description="Which ML framework runs this model best?")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    doctor = commands.add_parser("doctor", help="what is installed, which devices, what is missing and how to get it")
    doctor.add_argument("--json", action="store_true", help="as JSON")
    doctor.set_defaults(run=_doctor)
    store = commands.add_parser("cache", help="programs, weights and golden data that were prepared")
    store.add_argument("what", choices=("size", "clear"))
    store.set_defaults(run=_cache)
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except (RegistryError, OSError) as error:
        print(f"inferena: {error}", file=sys.stderr)
        return 1
    return 0


def registry() -> Registry:
    """Models and frameworks as pytest would find them: this project's, entry points, and ./conftest.py.

    Raises:
        RegistryError: one of them cannot be registered.
    """
    import pytest

    from pytest_inferena import hooks

    manager = pytest.PytestPluginManager()
    manager.add_hookspecs(hooks)
    for conftest in _conftests():
        spec = importlib.util.spec_from_file_location(f"inferena_conftest_{conftest.parent.name}", conftest)
        if spec is not None and spec.loader is not None:
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            manager.register(module)
    return collect(manager.hook)


def _conftests() -> Iterator[Path]:
    """benchmarks/conftest.py of the wheel or of the checkout, and the one in the current folder."""
    found = [HERE / "benchmarks", HERE.parents[1] / "benchmarks", Path.cwd()]
    yield from dict.fromkeys(folder / "conftest.py" for folder in found if (folder / "conftest.py").exists())


def _doctor(options: argparse.Namespace) -> None:
    report = examine(registry())
    if options.json:
        print(json.dumps(report, indent=2))
        return
    machine, store = report["platform"], report["cache"]
    print(f"{machine['cpu']}, {report['threads']} threads, {machine['memory_mib']} MiB, {machine['os']}")
    print(f"devices: {', '.join(machine['devices'])}")
    print(f"cache: {store['folder']}, {store['mib']} MiB, {store['free_mib']} MiB free")
    print("\nframeworks")
    for engine in report["frameworks"]:
        versions = ", ".join(f"{name} {version}" for name, version in engine["versions"].items())
        for backend in engine["backends"]:
            state = f"MISSING: {backend['missing']}" if backend["missing"] else f"ready: {versions}"
            print(f"  {engine['title'] + ' (' + backend['name'] + ')':<28} {state}")
    print("\nmodels")
    for model in report["models"]:
        print(f"  {model['title']:<32} {model['parameters'] / 1e6:.1f} M parameters")


def examine(registry: Registry) -> dict[str, Any]:
    """What doctor says, as data."""
    from pytest_inferena import platform

    folder = cache.root()
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "platform": platform.describe(),
        "threads": platform.thread_budget(),
        "cache": {
            "folder": str(folder),
            "mib": cache.size() >> 20,
            "free_mib": shutil.disk_usage(folder).free >> 20,
        },
        "frameworks": [
            {
                "name": engine.name,
                "title": engine.title,
                "versions": engine.installed()[0],
                "backends": [
                    {"name": backend.name, "device": backend.device, "missing": engine.missing(backend)}
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


def _cache(options: argparse.Namespace) -> None:
    if options.what == "clear":
        print(f"{cache.clear() >> 20} MiB freed")
    else:
        print(f"{cache.size() >> 20} MiB in {cache.root()}")
