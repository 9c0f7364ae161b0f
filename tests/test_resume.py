"""A run that ended too early goes on where it was, and measures again whatever has changed."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from tests import processors
from tests.projects import MODEL, Project
from tests.workers import alive, until

from pytest_inferena.cell import METRICS

if TYPE_CHECKING:
    from collections.abc import Callable


def killed_run(project: Project) -> None:
    """A run that was killed in its last cell, as by a power cut; its worker goes with it."""
    project.fault("measure", "hang", entry="training")
    run = project.start()
    try:
        assert until(lambda: (project.folder / "hanging").exists() or run.poll() is not None)
        assert run.poll() is None
    finally:
        run.kill()
        run.wait()
    project.fault()


def measured(project: Project) -> list[str]:
    """Metrics that were measured and not taken over, in the order of the journal's lines."""
    lines = [json.loads(line) for line in project.journals()[-1].read_text().splitlines()[1:]]
    return [line["metric"] for line in lines]


def test_a_killed_run_goes_on(project: Project) -> None:
    """Cells that were finished are taken over, with their figures and a flag; only the last one is measured."""
    killed_run(project)
    before = project.records()
    result = project.run("--inferena-resume", "--inferena-report=json:all.json")
    after = {record["metric"]: record for record in json.loads((project.path / "all.json").read_text())["records"]}

    assert ["compile", "inference", "latency"] == list(before)
    result.assert_outcomes(passed=4)
    assert 1 == len(project.journals())
    assert list(METRICS) == measured(project)
    assert [["resumed"], ["resumed"], ["resumed"], []] == [
        [flag for flag in after[metric]["flags"] if flag == "resumed"] for metric in METRICS
    ]
    for metric, record in before.items():
        assert record["samples"] == after[metric]["samples"]
        assert record["started"] == after[metric]["started"]


def test_a_resumed_run_can_be_resumed(project: Project) -> None:
    """Resuming twice measures nothing at all, and starts no worker."""
    killed_run(project)
    project.run("--inferena-resume")
    project.fault("import", "exit")

    project.run("--inferena-resume").assert_outcomes(passed=4)
    assert list(METRICS) == measured(project)


def test_a_torn_line_costs_its_cell_only(project: Project) -> None:
    """A line that was cut off while it was written is left out, and its cell measured again."""
    project.run()
    journal = project.journals()[0]
    os.truncate(journal, journal.stat().st_size - 40)
    project.run("--inferena-resume").assert_outcomes(passed=4)

    assert list(METRICS) == measured(project)


def test_the_worker_dies_with_the_run(project: Project) -> None:
    """No worker is left behind by a run that was killed."""
    project.append("fake/adapter.py", "\n(HERE / 'pid').write_text(str(os.getpid()))\n")
    killed_run(project)
    pid = int((project.folder / "pid").read_text())

    assert until(lambda: not alive(pid))


def change_adapter(project: Project) -> None:
    """Another word in the adapter."""
    project.append("fake/adapter.py", "\n# changed\n")


def change_toml(project: Project) -> None:
    """Another line in adapter.toml."""
    project.append("fake/adapter.toml", "[env]\nFAKE = '1'\n")


def change_model(project: Project) -> None:
    """Other inputs of the model."""
    text = (project.path / "conftest.py").read_text().replace(repr(str(MODEL)), "Path(__file__).parent / 'mlp.py'")
    project.write("conftest.py", text)
    project.write("mlp.py", MODEL.read_text().replace("linspace(-1, 1, 8", "linspace(-2, 1, 8"))


def change_outcome(project: Project) -> None:
    """The journal says that the cell crashed."""
    journal = project.journals()[0]
    journal.write_text(journal.read_text().replace('"outcome": "pass", "flags"', '"outcome": "crash", "flags"'))


def change_version(project: Project) -> None:
    """The journal was written with another version of the engine."""
    head, line = project.journals()[0].read_text().splitlines()
    record: dict[str, Any] = json.loads(line)
    record["versions"] = {"numpy": "1.0"}
    project.journals()[0].write_text(f"{head}\n{json.dumps(record)}\n")


def change_machine(project: Project) -> None:
    """The journal comes from another machine."""
    head, line = project.journals()[0].read_text().splitlines()
    document: dict[str, Any] = json.loads(head)
    document["run"]["platform"]["id"] = "another-machine"
    project.journals()[0].write_text(f"{json.dumps(document)}\n{line}\n")


@pytest.mark.parametrize(
    "change", [change_adapter, change_toml, change_model, change_outcome, change_version, change_machine]
)
def test_what_has_changed_is_measured_again(project: Project, change: Callable[[Project], None]) -> None:
    """Nothing is taken over that would be measured differently today."""
    project.run("-m", "latency")
    change(project)
    project.run("-m", "latency", "--inferena-resume").assert_outcomes(passed=1)

    assert [] == project.records()["latency"]["flags"]
    assert 2 == sum(len(journal.read_text().splitlines()) - 1 for journal in project.journals())


@pytest.mark.usefixtures("all_processors")
@pytest.mark.skipif(len(processors.ALL) < 2, reason="one CPU has one thread budget")
def test_another_thread_budget_is_another_cell(project: Project) -> None:
    """A cell of one thread says nothing of two."""
    project.run("-m", "latency")
    project.run("-m", "latency", "--inferena-resume", "--inferena-threads=2").assert_outcomes(passed=1)
    journal = project.journals()[-1].read_text().splitlines()[1:]

    assert [1, 2] == [json.loads(line)["threads"] for line in journal]


def test_nothing_to_resume(project: Project) -> None:
    """Without a journal everything is measured, and a note says why."""
    result = project.run("-m", "latency", "--inferena-resume")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["inferena: --inferena-resume: there is no journal of this machine, so everything *"])


def test_a_named_journal_is_the_only_one_to_resume(project: Project) -> None:
    """Where --inferena-results names a file that is not there yet, nothing of another journal is taken over."""
    project.run("-m", "latency")
    result = project.run("-m", "latency", "--inferena-resume", "--inferena-results=own.jsonl")
    head, record = (json.loads(line) for line in (project.path / "own.jsonl").read_text().splitlines())

    assert "--inferena-results=own.jsonl" in head["run"]["command"]
    assert "resumed" not in record["flags"]
    result.stdout.fnmatch_lines(["*no journal of this machine at own.jsonl, so everything was measured*"])


def test_what_was_only_judged_is_measured(project: Project) -> None:
    """A cell that ran under --benchmark-disable has no figure to take over."""
    project.run("-m", "latency", "--benchmark-disable", fast=False)
    project.run("-m", "latency", "--inferena-resume")

    assert ["latency", "latency"] == measured(project)
    assert project.records()["latency"]["samples"]


def test_a_journal_of_another_run_is_not_overwritten(project: Project) -> None:
    """--inferena-results=FILE never destroys a file that holds something else."""
    file = project.write("precious.jsonl", "precious\n")
    result = project.run("-m", "latency", "--inferena-results=precious.jsonl")

    assert "precious\n" == file.read_text()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["inferena: *precious.jsonl*"])
