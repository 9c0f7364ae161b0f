"""The fault matrix: what becomes of a cell whose engine does something wrong, by phase and language.

`python -m tests.chaos` tries all of it and writes docs/faults.md.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from filelock import FileLock
from tests.workers import open_files

from pytest_inferena.collect.again import Call
from pytest_inferena.collect.model import Model
from pytest_inferena.collect.settings import Settings
from pytest_inferena.collect.target import Target
from pytest_inferena.engines.framework import Framework
from pytest_inferena.processes import marks
from pytest_inferena.session.bench import Bench, Harness

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PROJECT = ROOT / "tests" / "project"
PHASES = ("hello", "load", "compile", "measure", "outputs")
OUTCOMES = {
    "exit 0": "crash", "exit 1": "crash", "exit 77": "crash", "SIGSEGV": "crash", "SIGABRT": "crash",
    "SIGKILL": "crash", "SIGSTOP": "timeout", "hangs": "timeout", "hangs, deaf to SIGTERM": "timeout",
    "leaves a child in its own session": "crash", "prints 1 GB": "pass", "memory to the limit": "oom",
    "answers garbage": "error", "answers half a line": "crash", "answers twice": "error",
    "answers another request": "error", "answers 2 MB": "error", "answers a byte a second": "timeout",
    "late by a second": "pass", "overwrites golden": "error",
    "a duration of 0": "error", "a duration below 0": "error", "a duration of 1e300": "error",
    "outputs of no bytes": "error", "outputs of 10 GB": "error",
}  # fmt: skip
"""What an engine does → what its cell has to be."""
DEADLINE, SLACK = 3.0, 2.0
"""Seconds that a phase has where it is a timeout, and within which the cell is then done."""
LANGUAGES = {
    "Python": 'training = "autograd"\nrequires = ["numpy"]\n',
    "executable": 'training = "none"\nexecutable = "engine"\n',
}


class Fault(NamedTuple):
    """One field of the matrix."""

    language: str
    phase: str
    action: str


def phases(action: str) -> tuple[str, ...]:
    """The phases in which an engine can do something."""
    some = {"a duration": PHASES[1:4], "outputs": PHASES[4:]}
    return next((found for begins, found in some.items() if action.startswith(begins)), PHASES)


def faults() -> list[Fault]:
    """All of them."""
    return [Fault(each, phase, action) for action in OUTCOMES for each in LANGUAGES for phase in phases(action)]


@dataclass
class Ended:
    """How a cell with a fault ended."""

    outcome: str
    reason: str
    seconds: float
    """From the moment at which the phase's deadline began to count, at the earliest."""
    left: list[str]
    """What is still there of it."""
    next: str
    """The outcome of the next cell, in which nothing is wrong."""


class Chaos:
    """An engine in each language, and what is needed to run cells with it."""

    def __init__(self, folder: Path) -> None:
        self.timeouts: dict[str, float] = {}
        loop = {"min_rounds": 1, "max_rounds": 1, "few": 1, "warmup": False, "max_time": 1.0, "give_up": 60.0}
        call = Call(folder, (), (), frozenset(), "seeded")
        settings = Settings("full", "seeded", 1, False, False, None, (), self.timeouts, loop, call)
        self.harness, self.loop = Harness(settings), loop
        model = Model.from_file(PROJECT / "mlp.py")
        self.targets: dict[str, Target] = {}
        for language, fields in LANGUAGES.items():
            place = shutil.copytree(PROJECT / "fake", folder / language, ignore=shutil.ignore_patterns("__pycache__"))
            shutil.copy(ROOT / "docs" / "example_worker.py", place)
            engine = place / "engine"
            engine.write_text(f"#!{sys.executable}\n{(place / 'engine.py').read_text()}")
            engine.chmod(0o755)
            head = f'name = "fake"\ntitle = "{language}"\nlanguage = "any"\n{fields}[limits]\nmemory = "400MiB"\n'
            (place / "adapter.toml").write_text(f'{head}[[backends]]\nname = "numeric"\ndevice = "cpu"\n')
            framework = Framework.read(place)
            self.targets[language] = Target(model, framework, framework.backends[0])

    def close(self) -> None:
        """End it."""
        self.harness.close()

    def run(self, fault: Fault) -> Ended:
        """A cell with a fault, and the next one of the same engine without it."""
        target, files = self.targets[fault.language], open_files()
        place, golden = target.framework.folder, self._golden(target)
        right, mode, before = golden.read_bytes(), golden.stat().st_mode, self._there()
        note = place / "fault.json"
        note.write_text(json.dumps({"phase": fault.phase, "action": fault.action, "golden": str(golden)}))
        self.timeouts.clear()
        if OUTCOMES[fault.action] == "timeout":
            self.timeouts[fault.phase] = DEADLINE
        bench = Bench(self.harness, target)
        began = time.monotonic()
        record = bench.run(self.harness.settings.cell(target, "latency"), self.loop)
        seconds = time.monotonic() - began
        if record.outcome.right:  # its worker would go on
            bench.close()
        left = [*(self._there() - before), *(["open files"] if open_files() > files else [])]
        note.unlink()
        if golden.read_bytes() != right:
            golden.chmod(0o644)
            golden.write_bytes(right)
            golden.chmod(mode)
        self.timeouts.clear()
        following = bench.run(self.harness.settings.cell(target, "inference"), self.loop)
        bench.close()
        return Ended(record.outcome, record.reason, seconds, [*left, *(self._there() - before)], following.outcome)

    def usual(self, language: str) -> float:
        """Seconds that a cell without a fault takes: the longest of three."""
        target, taken = self.targets[language], []
        for _ in range(3):
            bench, began = Bench(self.harness, target), time.monotonic()
            record = bench.run(self.harness.settings.cell(target, "latency"), self.loop)
            assert record.outcome.right, record.reason
            taken.append(time.monotonic() - began)
            bench.close()
        return max(taken)

    def _golden(self, target: Target) -> Path:
        workload = self.harness.workload(target)
        return self.harness.preparer.prepare(workload, target).golden_file("latency")

    def _there(self) -> set[str]:
        """Processes, folders and locks of this session."""
        found = {f"process {number}" for number in marks.carriers(f"{marks.marks().name}.", marks.living())}
        found |= {str(path) for path in self.harness.scratch.iterdir()}
        for lock in Path(os.environ["INFERENA_CACHE"]).rglob("*.lock"):
            try:
                FileLock(lock).acquire(blocking=False).lock.release()
            except TimeoutError:
                found.add(str(lock))
        return found


@contextlib.contextmanager
def chaos() -> Iterator[Chaos]:
    """In a folder of its own; the cache is that of INFERENA_CACHE."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        made = Chaos(Path(folder))
        try:
            yield made
        finally:
            made.close()


def wrong(fault: Fault, ended: Ended, usual: float) -> str:
    """What is not as it has to be; "" if all is.

    Args:
        fault: what was done.
        ended: what came of it.
        usual: seconds that the cell takes without a fault.
    """
    within = usual + SLACK + (DEADLINE if OUTCOMES[fault.action] == "timeout" else 0)
    if ended.outcome != OUTCOMES[fault.action]:
        return f"{ended.outcome}, not {OUTCOMES[fault.action]}: {ended.reason}"
    if ended.outcome == "timeout" and ended.seconds > within:
        return f"it took {ended.seconds:.1f} s, and {within:.1f} s are right"
    if ended.left:
        return f"left: {', '.join(ended.left)}"
    return "" if ended.next == "pass" else f"the next cell: {ended.next}"


def page(found: dict[Fault, str]) -> str:
    """The matrix as a page of Markdown."""
    lines = [
        "# The fault matrix",
        "",
        "Made by `make faults`. Rows are what an engine does, columns the request that it is to answer meanwhile. A",
        "field is the outcome of that cell, the same for an engine in Python and for an executable; a timeout comes",
        "within 2 s of its deadline. The engine's next cell then passed, and no process, file or lock was left.",
        "",
        f"| an engine | {' | '.join(PHASES)} |",
        "|---" * (1 + len(PHASES)) + "|",
    ]
    for action in OUTCOMES:
        cells = [{found[fault] for fault in found if fault[1:] == (phase, action)} for phase in PHASES]
        lines.append(f"| {action} | {' | '.join(' / '.join(sorted(cell)) or '·' for cell in cells)} |")
    return "\n".join(lines) + "\n"


def main() -> bool:
    """Try all of it, and write the page if all is right."""
    found: dict[Fault, str] = {}
    bad = False
    with tempfile.TemporaryDirectory(prefix="chaos-cache-") as cache:
        os.environ |= {"INFERENA_CACHE": cache, "INFERENA_LOCKS": cache}
        with chaos() as made:
            usual = {language: made.usual(language) for language in LANGUAGES}
            for fault in faults():
                ended = made.run(fault)
                said = wrong(fault, ended, usual[fault.language])
                print(f"{', '.join(fault)}: {said or ended.outcome}", flush=True)
                found[fault], bad = ended.outcome, bad or bool(said)
    if not bad:
        (ROOT / "docs" / "faults.md").write_text(page(found))
    return bad


if __name__ == "__main__":
    sys.exit(main())
