"""However a test ends, the table, the journal, the report, JUnit's file and pytest's own count tell the same of it."""

from __future__ import annotations

import json
import random
import shutil
from typing import TYPE_CHECKING

import pytest
from tests.in_ci import long
from tests.projects import HERE
from tests.stories import COUNT, FILES, GOOD, tell

if TYPE_CHECKING:
    from tests.projects import Project

ENGINES = ("e0", "e1", "e2")
TESTS = {"test_one": "latency", "test_two": "latency", "test_three": "inference", "test_four": "training"}
ENDINGS = [
    *["pass"] * 6, "crash", "compile", "oom", "lacks", "wrong", "swallowed", "close", "late", "slow", "early", "raise",
    "exit", "skip", "xfail", "own", "setup", "teardown",
]  # fmt: skip


@long
@pytest.mark.parametrize(
    ("seed", "options"),
    [
        (1, []),
        (2, ["--reruns=1"]),
        (3, ["--count=2"]),
        (4, ["-x"]),
        (5, ["-n", "2"]),
        (6, ["-n", "2", "--reruns=1", "--count=2"]),
        (7, ["interrupt"]),
        (8, ["-n", "2", "die"]),
    ],
)
def test_random_endings(project: Project, seed: int, options: list[str]) -> None:
    """Random endings of a dozen tests, some of them of the same cell, alone and over two processes."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    last = [option for option in options if option in {"interrupt", "die"}]
    names = [f"{test}-{engine}" for test in TESTS for engine in ENGINES]
    endings = {name: chance.choices(ENDINGS, k=chance.choice([1, 2])) for name in names}
    endings |= dict.fromkeys(chance.sample(names, len(last) * 2), last)
    prepare(project, endings)
    result = project.run(
        "test_endings.py", "--benchmark-disable", *FILES, *(o for o in options if o not in last), fast=False
    )
    told = tell(project, result.stdout.str(), cell_of)
    innocent = {name for name in names if endings[name] == ["pass"] and "test_four" not in name}

    assert {GOOD} >= {kind for test, kind in told.tests["pytest"].items() if name_of(test) in innocent}
    assert [] == told.differences()
    assert not any("nobody asked for" in record.reason for record in project.journal())


def prepare(project: Project, endings: dict[str, list[str]]) -> None:
    """A project with some engines and with tests that end like this."""
    project.engines(*ENGINES)
    shutil.copy(HERE / "project" / "endings.py", project.path / "test_endings.py")
    project.write("endings.json", json.dumps(endings))
    project.append("conftest.py", COUNT)


def name_of(test: str) -> str:
    """A test as `endings.json` has it, by its node id."""
    function, _, rest = test.rpartition("::")[2].partition("[")
    return f"{function}-{next(engine for engine in ENGINES if engine in rest)}"


def cell_of(test: str) -> tuple[str, str]:
    """The cell that a test measures: engine and metric."""
    function, _, engine = name_of(test).partition("-")
    return engine, TESTS[function]
