"""What pytest's count, JUnit's file, the table, the journal and the report each say of how a run ended."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from pytest_inferena import results
from pytest_inferena.cell import METRICS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from tests.projects import Folder

COUNT = '''

def pytest_terminal_summary(terminalreporter):
    """Pytest's own count."""
    import json

    found = {name: [report.nodeid for report in reports if hasattr(report, "when")]
             for name, reports in terminalreporter.stats.items() if name}
    Path("count.json").write_text(json.dumps(found))
'''
"""To be appended to a project's conftest.py."""
FILES = ("--junitxml=junit.xml", "--inferena-report=json:report.json", "--inferena-report=terminal")
"""The options that make the stories."""
NONE, LEFT, GOOD, BAD = range(4)
"""What can become of a cell or test, the worse the higher: no word of it, left out, right, wrong."""
KINDS = {
    "passed": GOOD, "close": GOOD, "skipped": LEFT, "failed": BAD, "error": BAD, "xfailed": BAD,
    "deselected": NONE, "rerun": NONE,
}  # fmt: skip


@dataclass(frozen=True)
class Stories:
    """All that was told, by who told it."""

    tests: Mapping[str, Mapping[Any, int]]
    """Of tests, by node id: what pytest and JUnit's file say."""
    cells: Mapping[str, Mapping[Any, int]]
    """Of cells, by engine and metric: what the tests' own ends come to, and the other three."""

    def differences(self) -> list[str]:
        """Where somebody tells another story than pytest, a line each; [] where all agree."""
        words = {NONE: "nothing", LEFT: "left out", GOOD: "right", BAD: "wrong"}
        lines = []
        for told in (self.tests, self.cells):
            truth = told["pytest"]
            for who, story in told.items():
                for name in sorted({*truth, *story}):
                    right, said = (words[those.get(name, NONE)] for those in (truth, story))
                    lines += [f"{name}: pytest says {right}, {who} says {said}"] if right != said else []
        return lines


def tell(folder: Folder, output: str, cell_of: Callable[[str], tuple[str, str] | None]) -> Stories:
    """What the run told that has just ended in a folder.

    Args:
        folder: it has COUNT in its conftest.py, and was run with FILES.
        output: what the run wrote to stdout.
        cell_of: the engine and metric that a test measures, by its node id; None if it measures none.
    """
    counted = told_by_pytest(folder.path)
    cells = ((cell_of(test), kind) for test, kind in counted.items())
    report = folder.path / "report.json"
    return Stories(
        tests={"pytest": counted, "JUnit": told_by_junit(folder.path)},
        cells={
            "pytest": worst((cell, kind) for cell, kind in cells if cell),
            "the journal": told_by_records(folder.journal() if folder.journals() else []),
            "the report": told_by_records(results.read(report).records if report.exists() else []),
            "the table": told_by_the_table(output, folder.names),
        },
    )


def worst(found: Iterable[tuple[Any, int]]) -> dict[Any, int]:
    """The worst of each; those of which there is no word are left out."""
    told: dict[Any, int] = {}
    for name, kind in found:
        told[name] = max(told.get(name, NONE), kind)
    return {name: kind for name, kind in told.items() if kind}


def told_by_pytest(folder: Path) -> dict[str, int]:
    """What pytest has counted."""
    count: dict[str, list[str]] = json.loads((folder / "count.json").read_text())
    return worst((test, KINDS[word]) for word, tests in count.items() for test in tests)


def told_by_junit(folder: Path) -> dict[str, int]:
    """What stands in JUnit's file; the last that it says of a test counts."""
    told = {}
    for case in ET.parse(folder / "junit.xml").getroot().iterfind(".//testcase[@name]"):  # noqa: S314 - pytest has written it
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


def told_by_the_table(text: str, engines: Iterable[str]) -> dict[tuple[str, str], int]:
    """What the marks in the table say, and the notes to them."""
    notes = {
        note[0] for note in re.findall(r"^\[(\d+)\] (.*\n(?:    .*\n)*)", text, re.MULTILINE) if "xpass" in note[1]
    }
    told = {}
    for engine, marks in re.findall(rf"^({'|'.join(engines)}) (.*)$", text, re.MULTILINE):
        for metric, mark in zip(METRICS, marks.split(), strict=False):
            declared = re.search(r"\[(\d+)\]", mark)
            kind = {"✗": BAD, "—": LEFT, "·": NONE}.get(mark[0], GOOD)
            told[engine, metric] = BAD if declared and declared[1] in notes else kind
    return {name: kind for name, kind in told.items() if kind}
