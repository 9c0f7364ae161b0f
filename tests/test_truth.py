"""However a test ends, the table, the journal, the report, JUnit's file and pytest's own count tell the same of it."""

from __future__ import annotations

import json
import random
import re
import shutil
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from tests.projects import HERE

from pytest_inferena import results
from pytest_inferena.cell import METRICS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.projects import Project

ENGINES = ("e0", "e1", "e2")
TESTS = {"test_one": "latency", "test_two": "latency", "test_three": "inference", "test_four": "training"}
ENDINGS = [
    *["pass"] * 6, "crash", "compile", "oom", "lacks", "wrong", "swallowed", "close", "late", "slow", "early", "raise",
    "exit", "skip", "xfail", "own", "setup", "teardown",
]  # fmt: skip
COUNT = '''

def pytest_terminal_summary(terminalreporter):
    """Pytest's own count."""
    import json

    found = {name: [report.nodeid for report in reports if hasattr(report, "when")]
             for name, reports in terminalreporter.stats.items() if name}
    Path("count.json").write_text(json.dumps(found))
'''
NONE, LEFT, GOOD, BAD = range(4)
"""What can become of a cell or test, the worse the higher: no word of it, left out, right, wrong."""
KINDS = {
    "passed": GOOD, "close": GOOD, "skipped": LEFT, "failed": BAD, "error": BAD, "xfailed": BAD,
    "deselected": NONE, "rerun": NONE,
}  # fmt: skip


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
    files = ["--junitxml=junit.xml", "--inferena-report=json:report.json", "--inferena-report=terminal"]
    result = project.run(
        "test_endings.py", "--benchmark-disable", *files, *(o for o in options if o not in last), fast=False
    )
    counted = told_by_pytest(project)
    of_cells = worst((cell_of(test), kind) for test, kind in counted.items())
    innocent = {name for name in names if endings[name] == ["pass"] and "test_four" not in name}
    journal = results.read(project.journals()[-1]).records
    report = results.read(project.path / "report.json").records

    assert {GOOD} >= {kind for test, kind in counted.items() if name_of(test) in innocent}
    assert counted == told_by_junit(project)
    assert of_cells == told_by_records(journal)
    assert of_cells == told_by_records(report)
    assert of_cells == told_by_the_table(result.stdout.str())
    assert not any("nobody asked for" in record.reason for record in journal)


def prepare(project: Project, endings: dict[str, list[str]]) -> None:
    """A project with some engines and with tests that end like this."""
    for engine in ENGINES:
        folder = project.path / engine
        shutil.copytree(project.folder, folder)
        toml = (folder / "adapter.toml").read_text()
        (folder / "adapter.toml").write_text(toml.replace('"fake"', f'"{engine}"').replace("Fake Engine", engine))
    shutil.rmtree(project.folder)
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


def worst(found: Iterable[tuple[Any, int]]) -> dict[Any, int]:
    """The worst of each; those of which there is no word are left out."""
    told: dict[Any, int] = {}
    for name, kind in found:
        told[name] = max(told.get(name, NONE), kind)
    return {name: kind for name, kind in told.items() if kind}


def told_by_pytest(project: Project) -> dict[str, int]:
    """What pytest has counted."""
    count: dict[str, list[str]] = json.loads((project.path / "count.json").read_text())
    return worst((test, KINDS[word]) for word, tests in count.items() for test in tests)


def told_by_junit(project: Project) -> dict[str, int]:
    """What stands in JUnit's file; the last that it says of a test counts."""
    told = {}
    for case in ET.parse(project.path / "junit.xml").getroot().iterfind(".//testcase[@name]"):  # noqa: S314 - pytest has written it
        kinds = {"failure": BAD, "error": BAD, "skipped": LEFT}
        found = [BAD if part.get("type") == "pytest.xfail" else kinds[part.tag] for part in case if part.tag in kinds]
        told[f"{case.get('classname')}.py::{case.get('name')}"] = max(found, default=GOOD)
    return told


def told_by_records(records: Iterable[results.Record]) -> dict[tuple[str, str], int]:
    """What the records of a file say."""
    return {(record.framework, record.metric): kind_of(record) for record in records}


def kind_of(record: results.Record) -> int:
    """What kind a record is of. One that was declared to fail and does not is a failure too."""
    right = record.outcome.right and "xpass" not in record.flags
    return GOOD if right else LEFT if record.outcome.absent else BAD


def told_by_the_table(text: str) -> dict[tuple[str, str], int]:
    """What the marks in the table say, and the notes to them."""
    notes = {
        note[0] for note in re.findall(r"^\[(\d+)\] (.*\n(?:    .*\n)*)", text, re.MULTILINE) if "xpass" in note[1]
    }
    told = {}
    for engine, marks in re.findall(rf"^({'|'.join(ENGINES)}) (.*)$", text, re.MULTILINE):
        for metric, mark in zip(METRICS, marks.split(), strict=False):
            declared = re.search(r"\[(\d+)\]", mark)
            kind = {"✗": BAD, "—": LEFT, "·": NONE}.get(mark[0], GOOD)
            told[engine, metric] = BAD if declared and declared[1] in notes else kind
    return {name: kind for name, kind in told.items() if kind}
