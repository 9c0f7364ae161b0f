"""The command `inferena`: what is there, what is missing, what the cache takes."""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import sys
from importlib.metadata import version
from pathlib import Path

from pytest_inferena.collect.arguments import BENCHMARKS
from pytest_inferena.collect.offer import given
from pytest_inferena.collect.registry import Registry, collect
from pytest_inferena.commands import ab, caching, explain, history, operators, quiet
from pytest_inferena.engines import crates
from pytest_inferena.engines.distributions import SetupError
from pytest_inferena.engines.framework import RegistryError
from pytest_inferena.engines.install import setup
from pytest_inferena.ranges import RangeError, number
from pytest_inferena.report.encodings import ERRORS
from pytest_inferena.results import ResultsError, read, read_all
from pytest_inferena.store.disk import CacheError


def main(arguments: list[str] | None = None) -> int:
    """Run a command. Returns 0, or 1 if something is wrong, which one line tells, or if a comparison found a loss."""
    options = parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=ERRORS)
    try:
        return int(options.run(options) or 0)
    except (RegistryError, SetupError, crates.CargoError, ResultsError, CacheError, RangeError, OSError) as error:
        print(f"inferena: {error}", file=sys.stderr)
        return 1


def parser() -> argparse.ArgumentParser:
    """Describe the command line; the manual page and the shells' completions are made from this."""
    made = argparse.ArgumentParser(prog="inferena", description="Which ML framework runs this model best?")
    made.add_argument("--version", action="version", version=f"pytest-inferena {version('pytest-inferena')}")
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    doctor = commands.add_parser("doctor", help="what is installed, which devices, what is missing and how to get it")
    doctor.add_argument("engine", nargs="*", help="these alone; each that is installed is started once")
    doctor.add_argument("--quiet-check", action="store_true",
        help="instead: the least difference that noise does not hide here, and what would make it less")  # fmt: skip
    doctor.add_argument("--json", action="store_true", help="as JSON")
    doctor.set_defaults(run=_doctor)
    _describe_setup(commands.add_parser("setup", help="install an engine, or build it"))
    wheel = commands.add_parser(
        "wheel", help="wheels with the executables of engines in Rust, for machines without cargo"
    )
    wheel.add_argument("engine", nargs="*", help="its name; none: all of them")
    wheel.add_argument("-o", "--output", type=Path, default=Path("dist"), metavar="FOLDER")
    wheel.set_defaults(run=_wheel)
    covered = commands.add_parser("coverage", help="engine × model × metric with verdict or reason")
    covered.add_argument("results", nargs="+", type=Path, help="result files (--inferena-report=json:FILE) or journals")
    covered.add_argument("--json", action="store_true", help="as JSON")
    covered.set_defaults(run=_coverage)
    paged = commands.add_parser("report", help="pages and pictures of result files, of any number of platforms")
    paged.add_argument("results", nargs="+", type=Path)
    paged.add_argument("--html", type=Path, metavar="PATH", help="one page: a file, or a folder for index.html")
    paged.add_argument(
        "--md", type=Path, metavar="FOLDER", help="a page of Markdown for each model, all platforms in it"
    )
    paged.add_argument(
        "--columns", metavar="NAME[,NAME…]", help="beside those of the metrics (default: those of the runs)"
    )
    paged.add_argument("--pictures", type=Path, metavar="FOLDER", help="a picture of each model, as SVG and as PNG")
    paged.set_defaults(run=_report)
    explain.describe(commands).set_defaults(run=lambda options: explain.run(registry(), options))
    operators.describe(commands).set_defaults(run=lambda options: operators.run(registry(), options))
    merged = commands.add_parser("merge", help="join result files of several machines, or of one over time")
    merged.add_argument("results", nargs="+", type=Path)
    merged.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="where to write all of them")
    merged.set_defaults(run=_merge)
    imported = commands.add_parser("import", help="Inference Arena's published tables as runs of external platforms")
    imported.add_argument("file", type=Path)
    imported.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the result file to write")
    imported.set_defaults(run=_import)
    compared = commands.add_parser(
        "compare", help="what changed from one result file to another; exit code 1 where something got worse"
    )
    compared.add_argument("old", type=Path)
    compared.add_argument("new", type=Path)
    compared.add_argument(
        "--threshold", default=5, metavar="PERCENT", help="by how much a median has to differ (default: 5)"
    )
    compared.add_argument("--all", action="store_true", help="also what did not change")
    compared.add_argument("--json", action="store_true", help="as JSON, all cells")
    compared.set_defaults(run=_compare)
    ab.describe(commands).set_defaults(run=lambda options: ab.run(registry, options))
    history.describe(commands).set_defaults(run=history.run)
    caching.describe(commands).set_defaults(run=caching.run)
    completed = commands.add_parser("completion", help="a script that completes this command's words in a shell")
    completed.add_argument("shell", choices=("bash", "zsh", "tcsh"))
    completed.set_defaults(run=_completion)
    return made


def _describe_setup(setup: argparse.ArgumentParser) -> None:
    setup.add_argument("engine", nargs="*", help="its name, as in -m")
    setup.add_argument("--all", action="store_true", help="every engine that is registered")
    setup.add_argument("--isolated", action="store_true", help="into an environment of its own")
    setup.add_argument("--feature", default="", help="of cargo, for an engine in Rust: cuda, metal, …")
    setup.add_argument("--backend", default="", help="with what this backend needs of its own: cuda, webgpu, …")
    setup.set_defaults(run=_setup)


def registry() -> Registry:
    """Models and frameworks as pytest would find them here: this project's, entry points, and those of conftests.

    Raises:
        RegistryError: one of them cannot be registered, or a conftest.py cannot be imported.
    """
    import pytest

    try:
        # else pytest's way to import would stay, and its hold of stdin, which an installer may ask for a password
        config = pytest.Config.fromdictargs({}, ["--assert=plain", "--capture=no"])
    except Exception as error:
        raise RegistryError(f"pytest does not start here: {error}") from error
    spec = importlib.util.spec_from_file_location("inferena_conftest", BENCHMARKS / "conftest.py")
    assert spec is not None and spec.loader is not None  # noqa: PT018, S101 - it is a file of Python
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config.pluginmanager.register(module)
    return collect(config.pluginmanager, given(config))


def _doctor(options: argparse.Namespace) -> None:
    if options.quiet_check:
        quiet.run(options)
        return
    from pytest_inferena.commands.doctor import examine

    known = registry()
    report = examine(Registry(known.models, known.chosen(options.engine)))
    if options.json:
        print(json.dumps(report, indent=2))
        return
    machine, store = report["platform"], report["cache"]
    print(f"{machine['cpu']}, {report['threads']} threads, {machine['memory_mib']} MiB, {machine['os']}")
    print("devices")
    for device in report["devices"] or ["none beside the CPU"]:
        print(f"  {device}")
    print(f"cache: {store['folder']}, {store['mib']} MiB, {store['free_mib']} MiB free")
    print("\nframeworks")
    for engine in report["frameworks"]:
        versions = ", ".join(f"{name} {version}" for name, version in engine["versions"].items())
        for backend in engine["backends"]:
            state = f"MISSING: {backend['missing']}" if backend["missing"] else f"ready: {versions or backend['ran']}"
            print(f"  {engine['title'] + ' (' + backend['name'] + ')':<28} {state}")
    print("\nmodels")
    for model in report["models"]:
        size = f"{model['parameters'] / 1e6:.1f} M parameters" if model["parameters"] else ""
        print(f"  {model['title']:<32} {size}".rstrip())


def _setup(options: argparse.Namespace) -> None:
    known = registry()
    engines = known.chosen([] if options.all else options.engine) if options.all or options.engine else {}
    if not engines:
        raise SetupError(f"name an engine, or say --all; there are {', '.join(known.frameworks)}")
    failures = []
    for engine in engines.values():
        try:
            python = setup(engine, isolated=options.isolated, feature=options.feature, backend=options.backend)
        except SetupError as error:
            failures.append(str(error))
            continue
        chosen = f", --inferena-python={engine.name}={python}" if options.isolated and not engine.kind.program else ""
        print(f"{engine.title}: installed{chosen}", flush=True)
    if failures:
        raise SetupError("\n".join(failures))


def _wheel(options: argparse.Namespace) -> None:
    known = registry()
    engines = known.chosen(options.engine)
    for engine in engines.values():
        if made := engine.kind.wheel(options.output):
            print(made)
        elif options.engine:
            raise SetupError(f"{engine.title} is no engine in Rust, it needs no wheel of its own: {engine.remedy}")


def _coverage(options: argparse.Namespace) -> None:
    from pytest_inferena.report import coverage

    found = coverage.combined([results for path in options.results for results in read_all(path)])
    text = json.dumps(coverage.cells(found), indent=2) if options.json else coverage.render(found).rstrip()
    print(text)


def _report(options: argparse.Namespace) -> None:
    from dataclasses import replace

    from msgspec import structs

    from pytest_inferena.report import ReportError, html, models, pictures, replace_file
    from pytest_inferena.report.columns import parse

    if not options.html and not options.md and not options.pictures:
        raise ResultsError("report: say what to make: --html PATH, --md FOLDER, --pictures FOLDER")
    runs = [results for path in options.results for results in read_all(path)]
    if options.columns is not None:
        try:
            names = parse([options.columns])
        except ReportError as error:
            raise ResultsError(f"report: --columns: {error}") from error
        runs = [replace(results, run=structs.replace(results.run, columns=names)) for results in runs]
    if options.html:
        path = options.html if options.html.suffix == ".html" else options.html / "index.html"
        replace_file(path, html.render_all(runs))
        print(path)
    for name, text in models.pages(runs).items() if options.md else ():
        replace_file(options.md / name, text)
        print(options.md / name)
    for path in pictures.write(runs, options.pictures) if options.pictures else ():
        print(path)


def _merge(options: argparse.Namespace) -> None:
    from pytest_inferena.report import replace_file
    from pytest_inferena.report.texts import clean
    from pytest_inferena.results.merge import merge, render

    runs, conflicts = merge(results for path in options.results for results in read_all(path))
    replace_file(options.output, render(runs))
    for conflict in conflicts:
        print(f"inferena: {clean(conflict)}", file=sys.stderr)
    print(f"{options.output}: {len(runs)} runs, {sum(len(results.records) for results in runs)} cells")


def _import(options: argparse.Namespace) -> None:
    from pytest_inferena.commands.arena import read_arena
    from pytest_inferena.report import replace_file
    from pytest_inferena.results.merge import render

    runs = read_arena(options.file, registry().models.values())
    replace_file(options.output, render(runs))
    print(f"{options.output}: {len(runs)} platforms, {sum(len(results.records) for results in runs)} cells")


def _compare(options: argparse.Namespace) -> bool:
    from pytest_inferena.report.compare import REGRESSIONS, compare, render, to_json

    threshold = number("--threshold", options.threshold, 1000, "over 0 and at most 1000 percent")
    changes = compare(read(options.old), read(options.new), threshold / 100)
    print(json.dumps(to_json(changes), indent=2) if options.json else render(changes, everything=options.all).rstrip())
    return any(change.kind in REGRESSIONS for change in changes)


def _completion(options: argparse.Namespace) -> None:
    try:
        import shtab
    except ImportError:
        raise SetupError("completion needs shtab: pip install 'pytest-inferena[completion]'") from None
    print(shtab.complete(parser(), options.shell))
