"""Under pytest-xdist: the same verdicts, tables and benchmark JSON as in one process, and one cell at a time."""

from __future__ import annotations

import datetime as dt
import itertools
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from pytest_inferena.session.distributed import ByTarget

if TYPE_CHECKING:
    from pathlib import Path

    from tests.projects import Project


def journal(path: Path) -> list[dict[str, Any]]:
    """The records of a journal."""
    return [json.loads(line) for line in path.read_text().splitlines()[1:]]


def twice(project: Project, *arguments: str) -> tuple[Path, Path]:
    """A serial run and one over two processes; the folders of their files."""
    folders = []
    for name, more in (("serial", []), ("parallel", ["-n", "2"])):
        folder = project.path / name
        folder.mkdir()
        files = [f"--inferena-results={folder / 'journal.jsonl'}", f"--benchmark-json={folder / 'benchmark.json'}"]
        project.run(*files, f"--inferena-report=json:{folder / 'report.json'}", *more, *arguments)
        folders.append(folder)
    return folders[0], folders[1]


def test_two_processes_give_what_one_gives(project: Project) -> None:
    """Outcomes, order of the report, and everything in the benchmark JSON that is not a time."""
    serial, parallel = twice(project)
    reports = [json.loads((folder / "report.json").read_text())["records"] for folder in (serial, parallel)]
    told = [[(r["framework"], r["backend"], r["metric"], r["outcome"]) for r in records] for records in reports]
    benches = [json.loads((folder / "benchmark.json").read_text())["benchmarks"] for folder in (serial, parallel)]
    same = [
        sorted((b["fullname"], b["name"], b["group"], b["param"], json.dumps(b["params"]), b["extra_info"]["outcome"])
               for b in found)
        for found in benches
    ]  # fmt: skip

    assert told[0] == told[1]
    assert same[0] == same[1]
    assert len(same[0]) == sum(outcome == "pass" for *_, outcome in told[0]) > 0


def test_the_benchmark_json_holds_the_samples_of_the_journal(project: Project) -> None:
    """What travelled from the worker is the same, bit for bit, in both files."""
    _, parallel = twice(project)
    records = journal(parallel / "journal.jsonl")
    samples = {record["metric"]: record["samples"][0] for record in records if record["samples"]}
    benches = json.loads((parallel / "benchmark.json").read_text())["benchmarks"]

    assert samples == {bench["params"]["metric"]: bench["stats"]["data"] for bench in benches}


def test_measurements_never_overlap(project: Project) -> None:
    """Whatever xdist deals out at once, only one cell has the device at a time."""
    project.append("fake/adapter.toml", '\n[[backends]]\nname = "second"\ndevice = "cpu"\n')
    _, parallel = twice(project)
    spans: list[tuple[dt.datetime, dt.datetime]] = []
    for record in journal(parallel / "journal.jsonl"):
        start = dt.datetime.fromisoformat(record["started"])
        spans.append((start, start + dt.timedelta(seconds=record["wall"])))
    spans.sort()
    slack = dt.timedelta(milliseconds=5)  # `started` is rounded to 1 ms

    assert len(spans) == 8  # two workers of four cells, dealt to two processes
    assert all(end <= start + slack for (_, end), (start, _) in itertools.pairwise(spans))


def test_a_process_that_dies_costs_its_own_cell(project: Project) -> None:
    """The cell in whose middle the xdist worker was ended is a crash in the table; the others are measured."""
    project.append(  # dies only under xdist
        "conftest.py",
        "\n\nimport os\n\n\ndef pytest_runtest_call(item):\n"
        '    if "test_latency" in item.nodeid and "PYTEST_XDIST_WORKER" in os.environ:\n'
        "        os._exit(9)\n",
    )
    path = project.path / "journal.jsonl"
    project.run(f"--inferena-results={project.path / 'serial.jsonl'}")
    serial = {record["metric"]: record["outcome"] for record in journal(project.path / "serial.jsonl")}
    result = project.run("-n", "1", f"--inferena-results={path}")
    outcomes = {record["metric"]: record["outcome"] for record in journal(path)}

    assert outcomes == serial | {"latency": "crash"}
    assert result.ret == 1


class Node(SimpleNamespace):
    """A process of xdist's."""

    __hash__ = object.__hash__  # type: ignore[assignment] # as a process has


def test_a_process_that_still_collects_gets_no_tests() -> None:
    """Where two processes die at once, the first replacement that is ready does not break the run for the second."""
    scheduler = ByTarget.__new__(ByTarget)
    scheduler.registered_collections = {}
    scheduler.workqueue = {"a": {"a": False}}
    scheduler.assigned_work = {"gw3": {}}
    scheduler._reschedule(Node(shutting_down=False))

    assert {"a": {"a": False}} == scheduler.workqueue


def test_benchmark_only_is_refused(project: Project) -> None:
    """pytest-benchmark refuses --benchmark-only under xdist; nothing runs and it says why."""
    result = project.run("-n", "2", "--benchmark-only")

    assert result.ret == 4
    result.stderr.fnmatch_lines(["*Can't have both --benchmark-only and --benchmark-disable*"])
