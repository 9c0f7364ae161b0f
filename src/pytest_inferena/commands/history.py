"""`inferena history`: keeps the runs of a machine in a folder, and shows where a cell's figure moved, and why."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferena.machine.identity import identity
from pytest_inferena.report import replace_file
from pytest_inferena.report.texts import clean, counted
from pytest_inferena.results import ResultsError, read_all
from pytest_inferena.results.merge import merge, render

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_inferena.results import Record, Results

FOLDER = Path(".inferena", "history")
CHOICES = ("model", "framework", "backend", "metric")


def describe(commands: Any) -> argparse.ArgumentParser:
    """Add the command to the command line."""
    made: argparse.ArgumentParser = commands.add_parser(
        "history", help="keep the runs of a machine, and show where a figure moved, and with which version"
    )
    for name in CHOICES:
        made.add_argument(f"--{name}", action="append", metavar="NAME", help=f"this {name} alone; may be said again")
    made.add_argument(
        "--machine",
        metavar="IDENTITY",
        help="show this one; its first digits will do (default: this machine, or the last run's)",
    )
    made.add_argument("--json", action="store_true", help="as JSON")
    added = made.add_subparsers(metavar="add").add_parser("add", help="keep runs; the same run is kept once")
    added.add_argument("results", nargs="+", type=Path, help="journals or result files")
    for parser, default in ((made, FOLDER), (added, argparse.SUPPRESS)):  # else it would hide what stands before `add`
        parser.add_argument("--folder", type=Path, default=default, help=f"where they are kept (default: {FOLDER})")
    made.set_defaults(results=[])
    return made


def run(options: argparse.Namespace) -> bool:
    """Keep runs, or show those that are kept. Returns whether a file that was named could not be kept.

    Raises:
        ResultsError: there is nothing to show, or no such cell or machine.
        OSError: the folder cannot be written.
    """
    if options.results:
        return _add(options.results, options.folder)
    _show(options)
    return False


def _add(paths: list[Path], folder: Path) -> bool:
    found, broken = _read(paths)
    for results in found:
        name = results.run.id
        path = folder / f"{name}.json"
        kept, unread = _read([path]) if path.exists() else ([], False)
        if unread:
            broken = True
            continue
        runs, conflicts = merge([*kept, results])
        if kept == runs:
            print(f"{name}: is there already")
            continue
        replace_file(path, render(runs))
        _warn(clean(conflict) for conflict in conflicts)
        print(f"{name}: kept, {len(results.records)} cells")
    return broken


def _read(paths: Iterable[Path]) -> tuple[list[Results], bool]:
    """The runs of files, and whether one of these could not be read, which is told."""
    found: list[Results] = []
    broken = False
    for path in paths:
        try:
            found += read_all(path)
        except ResultsError as error:
            _warn([f"left out: {error}"])
            broken = True
    _warn(warning for results in found for warning in results.warnings)
    return found, broken


def _warn(sentences: Iterable[str]) -> None:
    for sentence in sentences:
        print(f"inferena: {sentence}", file=sys.stderr)


def _show(options: argparse.Namespace) -> None:
    from pytest_inferena.report.history import render, to_json
    from pytest_inferena.report.trends import trace

    paths = [path for path in sorted(options.folder.glob("*")) if path.suffix in {".json", ".jsonl"} and path.is_file()]
    found, _ = merge(_read(paths)[0])
    if not found:
        raise ResultsError(
            f"{options.folder}: no run is kept here; 'inferena history add .inferena/*.jsonl' keeps some"
        )
    history = trace(_of_one_machine(found, options.machine), _chosen(options, found))
    print(json.dumps(to_json(history), indent=2) if options.json else render(history).rstrip())


def _of_one_machine(found: list[Results], asked: str | None) -> list[Results]:
    """The runs of the machine that is shown. A sentence tells of other machines' runs, and of those that name none."""
    if nameless := [results.run.id for results in found if not results.run.platform.identity]:
        _warn([f"left out: {', '.join(nameless)}: no file says on which machine that was, so it joins no other run"])
    machines: dict[tuple[str, str], list[Results]] = {}
    for results in sorted(found, key=lambda one: one.run.date):
        platform = results.run.platform
        if platform.identity:
            machines.setdefault((platform.identity, platform.id), []).append(results)
    if not machines:
        raise ResultsError("history: no run says on which machine it was measured")
    named = [key for key in machines if key[0].startswith(asked or identity())]
    if asked and len(named) != 1:
        there = ", ".join(f"{one} ({clean(name)})" for one, name in machines)
        raise ResultsError(f"--machine={asked}: names {len(named)} machines; there are {there}")
    shown = named[0] if named else max(machines, key=lambda key: machines[key][-1].run.date)
    _warn(
        f"left out: {counted(len(runs))} of another machine, {clean(name)}; --machine={one} shows them"
        for (one, name), runs in machines.items() if (one, name) != shown
    )  # fmt: skip
    return machines[shown]


def _chosen(options: argparse.Namespace, found: list[Results]) -> Any:
    """What tells whether a cell is asked for."""
    asked = {name: vars(options)[name] for name in CHOICES if vars(options)[name]}
    for name, values in asked.items():
        there = sorted({getattr(record, name) for results in found for record in results.records})
        for value in values:
            if value not in there:
                raise ResultsError(f"--{name}={value}: no run has it; there are {', '.join(map(clean, there))}")

    def chosen(record: Record) -> bool:
        return all(getattr(record, name) in values for name, values in asked.items())

    return chosen
