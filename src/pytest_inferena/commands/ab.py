"""`inferena ab`: two versions in one run, in turns, so that both have the same hour and the same neighbours."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace as changed
from packaging.requirements import InvalidRequirement, Requirement

from pytest_inferena import machine
from pytest_inferena.cell import Outcome
from pytest_inferena.engines.distributions import SetupError
from pytest_inferena.machine import asking
from pytest_inferena.ranges import whole
from pytest_inferena.report import regression, replace_file
from pytest_inferena.results import Results, ResultsError, document, read

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator

    from pytest_inferena.collect.registry import Registry
    from pytest_inferena.engines.framework import Framework
    from pytest_inferena.results import Record

RULES = "compile>5%,inference>5%,latency>5%,training>5%,verdict"
MOST_ROUNDS = 1000
LAST = 15
"""Lines of a turn's output that are shown if it broke."""


@dataclass(frozen=True)
class Side:
    """What one of the two sides is: a folder where pytest runs, and what it is told there."""

    name: str
    folder: Path
    options: tuple[str, ...] = ()


def describe(commands: Any) -> argparse.ArgumentParser:
    """Add the command to the command line."""
    made: argparse.ArgumentParser = commands.add_parser(
        "ab", help="measure two versions in turns; exit code 1 where the second is slower or worse"
    )
    for side in ("base", "head"):
        made.add_argument(f"--{side}", required=True, metavar="VERSION",
            help="a folder, a revision of git, or distributions: NAME==VERSION[,NAME==VERSION…]")  # fmt: skip
    made.add_argument("--rounds", default=5, metavar="N", help="processes of each side (default: 5)")
    made.add_argument("--fail-on", default=RULES, metavar="RULES", help=f"(default: {RULES.replace('%', '%%')})")
    made.add_argument("-o", "--output", type=Path, default=Path("ab"), metavar="FOLDER",
        help="for base.json and head.json, which are there after each turn (default: ab)")  # fmt: skip
    made.add_argument(
        "arguments", nargs="*", metavar="-- ARGUMENT", help="pytest's, such as: -- benchmarks -m training"
    )
    return made


def run(registry: Callable[[], Registry], options: argparse.Namespace) -> bool:
    """Measure both, and say what changed. Returns whether a rule is broken.

    Raises:
        SetupError: a side is neither folder, revision nor distributions of an engine, or cannot be installed; a rule is
            none.
        RangeError: a number is out of its range.
        ResultsError: a turn gave no results.
    """
    rounds = whole("--rounds", options.rounds, MOST_ROUNDS)
    try:
        rules = regression.Rules.parse(options.fail_on)
    except ValueError as error:
        raise SetupError(f"--fail-on={options.fail_on}: {error}") from None
    with tempfile.TemporaryDirectory(prefix="inferena-ab-") as made, contextlib.ExitStack() as stack:
        folder = Path(made)
        sides = [stack.enter_context(_side(name, vars(options)[name], folder, registry)) for name in ("base", "head")]
        found: dict[str, list[Results]] = {side.name: [] for side in sides}
        for turn in range(rounds):
            for side in sides if turn % 2 == 0 else reversed(sides):  # what goes one way in time cancels out
                began = time.monotonic()
                found[side.name].append(_measure(side, folder / f"{side.name}-{turn}.jsonl", options.arguments))
                replace_file(options.output / f"{side.name}.json", document.render(joined(found[side.name])))
                took = time.monotonic() - began
                print(f"round {turn + 1} of {rounds}, {side.name}: {took:.0f} s", flush=True)
    base, head = (joined(found[side.name]) for side in sides)
    text, broken = regression.judge(base, head, rules)
    print(f"\n{text}", end="")
    for sentence in broken:
        print(sentence)
    return bool(broken)


def joined(turns: list[Results]) -> Results:
    """Runs of one side as one: each run's process is a process of the cell. The first that is not PASS says what it is.

    Args:
        turns: one at least; the first has the header and the order.
    """
    parts: dict[Any, list[Record]] = {}
    for one in turns:
        for record in one.records:
            parts.setdefault(record.key, []).append(record)
    return replace(turns[0], records=tuple(map(_joined, parts.values())))


def _joined(records: list[Record]) -> Record:
    from pytest_inferena.session.figures import figures  # numpy, which no other command needs

    first = next((record for record in records if record.outcome is not Outcome.PASS), records[0])
    samples = [process for record in records for process in record.samples]
    if not first.outcome.right or not samples:
        return first
    flags = dict.fromkeys(flag for record in records for flag in record.flags)
    return changed(first, flags=tuple(flags), **figures(samples))


def _measure(side: Side, journal: Path, arguments: list[str]) -> Results:
    command = [sys.executable, "-m", "pytest", *arguments, *side.options, f"--inferena-results={journal}"]
    done = subprocess.run(
        command, cwd=side.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        env={**os.environ, "PYTHONUNBUFFERED": "1"}, check=False,
    )  # fmt: skip
    if not journal.is_file():
        said = "\n".join(done.stdout.splitlines()[-LAST:])
        raise ResultsError(f"{side.name}: pytest measured nothing and ended with {done.returncode}:\n{said}")
    found = read(journal)
    if not any(record.outcome.judged for record in found.records):
        reasons = dict.fromkeys(record.reason for record in found.records)
        raise ResultsError(f"{side.name}: no cell ran: {'; '.join(reasons)}")
    return found


@contextlib.contextmanager
def _side(name: str, said: str, scratch: Path, registry: Callable[[], Registry]) -> Iterator[Side]:
    here = Path.cwd()
    if Path(said).is_dir():
        yield Side(name, Path(said).resolve())
    elif re.search("[=<>]", said):
        yield Side(name, here, tuple(interpreters(name, said, registry().frameworks.values())))
    elif commit := machine.commit(here, said):
        folder, git = scratch / name, ["git", "-C", str(here)]
        inside = asking.run(*git, "rev-parse", "--show-prefix")
        added = [*git, "worktree", "add", "--quiet", "--detach", str(folder), commit]
        if subprocess.run(added, check=False).returncode:
            raise SetupError(f"--{name}={said}: git cannot check it out; its own words stand above")
        try:
            yield Side(name, folder / inside)
        finally:
            subprocess.run([*git, "worktree", "remove", "--force", str(folder)], check=False)
    else:
        raise SetupError(f"--{name}={said}: no folder, no revision that git knows here, no distribution==VERSION")


def interpreters(name: str, said: str, frameworks: Iterable[Framework]) -> Iterator[str]:
    """Install distributions, each in an environment of the engine that requires it, and name the interpreters."""
    try:
        wanted = {Requirement(text).name: text.strip() for text in said.split(",")}
    except InvalidRequirement as error:
        raise SetupError(f"--{name}={said}: {str(error).splitlines()[0]}") from None
    engines = {engine: {Requirement(one).name: one for one in engine.requires} for engine in frameworks}
    chosen = {engine: needs for engine, needs in engines.items() if wanted.keys() & needs.keys()}
    if unknown := wanted.keys() - {one for needs in chosen.values() for one in needs}:
        raise SetupError(f"--{name}={said}: no engine requires {', '.join(sorted(unknown))}")
    for engine, needs in chosen.items():
        if engine.kind.program:
            raise SetupError(f"--{name}={said}: {engine.title} is no engine in Python; name two checkouts instead")
        asked = {one: text for one, text in wanted.items() if one in needs}
        for one, text in asked.items():
            tested = Requirement(needs[one]).specifier
            exact = [each.version for each in Requirement(text).specifier if each.operator == "=="]
            named = [version for version in exact if not version.endswith(".*")]
            if not all(tested.contains(version, prereleases=True) for version in named):
                raise SetupError(f"--{name}={said}: {engine.title} is run with {one}{tested} only, which was tested")
        slug = re.sub("[^A-Za-z0-9.]+", "-", "-".join([engine.name, *asked.values()]))
        python = replace(engine, requires=tuple({**needs, **asked}.values())).kind.install("", slug)
        yield f"--inferena-python={engine.name}={python}"
