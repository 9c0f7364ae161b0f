"""The memory of a process at its peak: of itself and of what it starts, over what it took while it was idle."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pytest_inferena.cell import Outcome
from pytest_inferena.processes import memory
from pytest_inferena.processes.memory import KEPT, SILENT, Memory
from pytest_inferena.session.figures import Process
from pytest_inferena.session.resources import resources
from pytest_inferena.verdict.gate import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MIB = 1 << 20
WORKER = f"""
import os, sys
MIB = {MIB}
own, child = [b"x" * (20 * MIB)], 0
for line in sys.stdin:
    if line == "forget\\n":
        own.clear()
    elif line == "fork\\n":
        ready, told = os.pipe()
        if not (child := os.fork()):
            own.append(b"y" * (30 * MIB))
            os.write(told, b".")
            os.read(0, 1)
            os._exit(0)
        os.read(ready, 1)
    else:
        own.append(b"z" * (int(line) * MIB))
    print(child, flush=True)
"""
"""Takes as many MiB as it is told, forgets all it has, or forks a child that takes 30 more."""


@pytest.fixture
def told() -> Iterator[Callable[..., list[int]]]:
    """Tells such a process what to do, and gives the numbers of all that there are."""
    command = [sys.executable, "-c", WORKER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        found = [process.pid]

        def tell(*words: str) -> list[int]:
            assert process.stdin is not None
            assert process.stdout is not None
            for word in words:
                process.stdin.write(f"{word}\n")
                process.stdin.flush()
                if (child := int(process.stdout.readline())) and child not in found:
                    found.append(child)
            return found

        yield tell
        process.kill()
        process.communicate()  # the end of its input ends the child too


def measured(family: Callable[[], list[int]], begin: Callable[[], object], work: Callable[[], object]) -> float:
    """MiB at the peak of some work, where something else came before it."""
    seen = Memory(family)
    begin()
    seen.begin()
    work()
    peak = seen.peak()

    assert not isinstance(peak, str)
    return peak / MIB


def test_the_peak_is_what_counts(told: Callable[..., list[int]]) -> None:
    """Memory that was given back counts, if it was taken in time; what was there when it was idle does not."""
    family = told("1")

    assert 98 <= measured(lambda: family, lambda: told("20"), lambda: told("79", "forget")) < 103
    assert measured(lambda: family, lambda: told("90", "forget"), lambda: told("10")) < 14


def test_pages_that_processes_share_count_once(told: Callable[..., list[int]]) -> None:
    """A child has all pages of its parent, and 30 MiB of its own."""
    told("1")

    assert 129 <= measured(told, lambda: told("100"), lambda: told("fork")) < 136


def test_a_system_that_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no /proc, or its clear_refs cannot be written, the reason stands in the place of the figure."""
    monkeypatch.setattr(memory, "PROC", tmp_path)
    unknown = Memory(lambda: [7])
    unknown.begin()
    (tmp_path / "7" / "clear_refs").mkdir(parents=True)  # nobody writes to a folder
    (tmp_path / "7" / "status").write_text("VmHWM:\t 3072 kB\nVmRSS:\t 1024 kB\n")
    silent = Memory(lambda: [7])
    silent.begin()
    (tmp_path / "7" / "clear_refs").rmdir()
    heard = Memory(lambda: [7])
    heard.begin()  # as if it had ended

    assert (SILENT, KEPT, 2 * MIB) == (unknown.peak(), silent.peak(), heard.peak())


def test_the_largest_of_several_processes() -> None:
    """A cell takes what one of its processes takes; one of which nobody knows it has the reason instead."""
    verdict = Verdict(outcome=Outcome.PASS)
    first, other, unknown = (Process(0, [], verdict, memory=seen) for seen in (MIB, 5 * MIB // 2, SILENT))

    assert {"memory": 2.5, "missing": {}} == resources([first, other], {})
    assert {"peak": 9.5, "missing": {"memory": SILENT}} == resources([first, unknown], {"peak": 9.5})
