"""Tests of the gate of regressions: rules, what breaks them, and how a run of pytest ends."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from tests.records import RUN, broken, make_record, make_results, timed

from pytest_inferena.report.regression import Rules, judge

if TYPE_CHECKING:
    from pathlib import Path

    from tests.projects import Project

SLOW = timed(0.260, 0.002, samples=[[0.258, 0.259, 0.260, 0.261, 0.262]])
CELL = "Small U-Net, Alpha, inference"
GATE = ("--inferena-compare=base.json", "--inferena-fail-on=inference>5%, verdict")


def sentences(old: dict[str, Any], new: dict[str, Any], rules: str, **run: Any) -> list[str]:
    """What is broken, of one cell."""
    base, head = (make_results([make_record(**fields)]) for fields in (old, new))
    return judge(make_results(base.records, **run), head, Rules.parse(rules))[1]


@pytest.mark.parametrize(
    ("old", "new", "rules", "found"),
    [
        ({}, SLOW, "inference>5%", [f"inference>5%: {CELL} is 12.1% slower, over 99% sure"]),
        ({}, SLOW, "inference>12%", [f"inference>12%: {CELL} is 12.1% slower, 60% sure"]),
        ({}, SLOW, "inference>12.5%", []),
        ({}, SLOW, "latency>5%, verdict", []),
        (SLOW, {}, "inference>5%", []),
        ({}, broken("crash", "SIGSEGV"), "inference>5%", []),
        ({}, broken("crash", "SIGSEGV"), "verdict", [f"verdict: {CELL} got worse: CRASH: SIGSEGV"]),
        (broken("crash", "SIGSEGV"), {}, "verdict", []),
        (broken("crash", "SIGSEGV"), broken("crash", "SIGSEGV"), "inference>5%", []),
        ({}, {**SLOW, "hashes": {"program": "cccc"}}, "inference>5%",
         [f"inference>5%: {CELL} cannot be compared: not the same program: aaaa1111, now cccc"]),
        ({}, {**SLOW, "interval": None}, "inference>5%",
         [f"inference>5%: {CELL} cannot be compared: a single sample has no interval"]),
        ({}, {**SLOW, "interval": None, "median": None}, "inference>5%",
         [f"inference>5%: {CELL} cannot be compared: one of the two was judged only, and not timed"]),
    ],
)  # fmt: skip
def test_what_breaks_a_rule(old: dict[str, Any], new: dict[str, Any], rules: str, found: list[str]) -> None:
    """A median that is larger by more, intervals apart; an outcome that is worse; what cannot be told is no pass."""
    assert found == sentences(old, new, rules)


def test_another_machine() -> None:
    """Its figures do not compare, its verdicts do."""
    other = {"platform": {**RUN["platform"], "id": "other"}}

    assert [f"inference>5%: {CELL} cannot be compared: measured on different machines"] == sentences(
        {}, {}, "inference>5%,verdict", **other
    )
    assert len(sentences({}, broken("oom", "9 GiB"), "verdict", **other)) == 1


def test_cells_that_were_not_chosen() -> None:
    """They are not gone, and new ones have nothing to be compared with."""
    base = make_results([make_record(), make_record("training")])
    text, found = judge(base, make_results([make_record(), make_record("latency")]), Rules.parse("latency>1%,verdict"))

    assert ("2 cells: 1 new, 1 same", []) == (text.splitlines()[-1], found)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ("speed>5%", "'speed>5%' is no rule: write METRIC>N%, *; metrics are compile, inference, latency, training"),
        ("inference>5", "'inference>5' is no rule: *N is over 0 and at most 1000"),
        ("inference", "'inference' is no rule: *"),
        ("training>0%", "'training>0%' is no rule: *"),
        ("training>-1%", "'training>-1%' is no rule: *"),
        ("training>1e4%", "'training>1e4%' is no rule: *"),
        ("inference>5%,", "'' is no rule: *"),
    ],
)  # fmt: skip
def test_no_rule(rules: str, message: str, project: Project) -> None:
    """It is one message, before anything runs."""
    project.write("base.json", "{}")
    result = project.run("--inferena-compare=base.json", f"--inferena-fail-on={rules}")

    assert pytest.ExitCode.USAGE_ERROR == result.ret
    result.stderr.fnmatch_lines([f"ERROR: --inferena-fail-on={rules}: {message}"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--inferena-fail-on=verdict"], "--inferena-fail-on=verdict: what to compare with is missing, *"),
        (["--inferena-compare=nothing"], "--inferena-compare=nothing: neither a result file nor a revision that git *"),
        (["--inferena-compare=mlp.txt"], "--inferena-compare=mlp.txt: *"),
    ],
)
def test_nothing_to_compare_with(arguments: list[str], message: str, project: Project) -> None:
    """It is said before anything runs."""
    project.write("mlp.txt", "no results")
    result = project.run(*arguments)

    assert pytest.ExitCode.USAGE_ERROR == result.ret
    result.stderr.fnmatch_lines([f"ERROR: {message}"])
    assert not project.journals()


def faster(path: Path, times: float) -> None:
    """Let all figures of a result file be so many times shorter."""
    found = json.loads(path.read_text())
    for record in found["records"]:
        record["median"] /= times
        record["interval"] = record["interval"] and [bound / times for bound in record["interval"]]
        record["samples"] = [[sample / times for sample in process] for process in record["samples"]]
    path.write_text(json.dumps(found))


@pytest.mark.parametrize("more", [(), ("-n", "2")], ids=["", "xdist"])
def test_a_slower_run(more: tuple[str, ...], project: Project) -> None:
    """All tests pass, the run does not: terminal and summary say which cell is slower, and how sure that is."""
    base = project.path / "base.json"
    project.run(f"--inferena-report=json:{base}")
    faster(base, 10_000)  # a busy machine may make a step of microseconds 30 times as long
    result = project.run(*GATE, "--inferena-report=md:out.md", *more)
    summary = (project.path / "out.md").read_text()

    result.assert_outcomes(passed=4)
    assert pytest.ExitCode.TESTS_FAILED == result.ret
    said = "inference>5%: Tiny MLP, Fake Engine, inference is *% slower, over 99% sure"
    result.stdout.fnmatch_lines(["*inferena: compared with *", "4 cells: *", f"inferena: {said}"])
    result.stdout.no_fnmatch_line("inferena: latency*")
    assert "```text\nCell " in summary
    assert summary.rstrip().splitlines()[-2].startswith("inference>5%: Tiny MLP, Fake Engine, inference is ")


def test_without_a_rule(project: Project) -> None:
    """What changed is shown, and the run is good."""
    base = project.path / "base.json"
    project.run(f"--inferena-report=json:{base}")
    faster(base, 10_000)  # a busy machine may make a step of microseconds 30 times as long
    result = project.run(GATE[0])

    assert pytest.ExitCode.OK == result.ret
    result.stdout.fnmatch_lines(["Tiny MLP, Fake Engine, latency *slower*", "4 cells: *"])


def test_a_summary_that_cannot_be_written(project: Project) -> None:
    """It is said, and the run fails for it alone."""
    full = "def full(*_):\n    raise OSError(28, 'No space left on device')\n"
    project.append("conftest.py", f"{full}\nfrom pytest_inferena.session import gate\ngate.replace_file = full\n")
    base = project.path / "base.json"
    project.run(f"--inferena-report=json:{base}")
    result = project.run(GATE[0], "--inferena-report=md:out.md")

    assert pytest.ExitCode.TESTS_FAILED == result.ret
    result.stdout.fnmatch_lines(["inferena: what changed is not in out.md: No space left on device"])


def test_a_revision(project: Project) -> None:
    """It is the newest journal of that commit; the commit before has none, and the message says how to get one."""
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for command in (["init", "-q"], ["add", "pytest.ini"], *[["commit", "-q", "--allow-empty", "-m", "x"]] * 2):
        subprocess.run(["git", *identity, *command], cwd=project.path, check=True)
    project.run("-k", "latency").assert_outcomes(passed=1, deselected=3)
    same = project.run("--inferena-compare=HEAD", "-k", "latency", "--inferena-fail-on=verdict")
    before = project.run("--inferena-compare=HEAD~1", "-k", "latency")

    assert (pytest.ExitCode.OK, pytest.ExitCode.USAGE_ERROR) == (same.ret, before.ret)
    same.stdout.fnmatch_lines(["*inferena: compared with *", "1 cells: *"])
    before.stderr.fnmatch_lines(["ERROR: --inferena-compare=HEAD~1: .inferena has no run of * on this machine; *"])
