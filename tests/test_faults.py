"""Engines that break: each breach is one outcome with one clear message, and the cells beside it go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_inferena.cell import METRICS

if TYPE_CHECKING:
    from tests.projects import Project

DIES = [
    ("load", "signal", "crash", "load: killed by SIGSEGV"),
    ("compile", "signal", "crash", "compile: killed by SIGSEGV"),
    ("measure", "signal", "crash", "measure: killed by SIGSEGV"),
    ("import", "exit", "crash", "hello: exited with status 3"),
    ("compile", "exit", "crash", "compile: exited with status 3"),
    ("outputs", "exit", "crash", "outputs: exited with status 3"),
]
CELL = "mlp-fake-numeric-latency"
PROTOCOL = [
    ("compile", "pipe", "error", "compile: broke the protocol: not JSON: b'Segmentation fault? No, just talking.'"),
    ("compile", "list", "error", "compile: broke the protocol: not an object: b'[1, 2]'"),
    ("compile", "long", "error", "compile: broke the protocol: a line over 1048576 bytes"),
]
RAISES = [
    ("import", "import", "error", "ImportError: libfake.so.2: cannot open shared object file"),
    ("load", "memory", "oom", "MemoryError: no room for 9 GiB"),
    ("compile", "memory", "oom", "MemoryError: no room for 9 GiB"),
    ("measure", "memory", "oom", "MemoryError: no room for 9 GiB"),
    ("compile", "raise", "error", "RuntimeError: kernel of 3 heads"),
    ("outputs", "raise", "error", "RuntimeError: kernel of 3 heads"),
]


@pytest.mark.parametrize(("phase", "action", "outcome", "message"), DIES + PROTOCOL + RAISES)
def test_a_broken_cell_fails_with_its_reason(
    project: Project, phase: str, action: str, outcome: str, message: str
) -> None:
    """The cell fails with outcome, phase and reason, and with the command that repeats it; the journal says so too."""
    project.fault(phase, action)
    result = project.run("-m", "latency")
    record = project.records()["latency"]

    assert 1 == result.ret
    result.assert_outcomes(failed=1)
    assert f"{CELL} {outcome.upper()}: {message}" in result.outlines
    assert "again: pytest 'test_latency.py::test_latency[mlp-fake-numeric]' --inferena-threads=1" in result.outlines
    assert (outcome, message, []) == (record["outcome"], record["reason"], record["samples"])


@pytest.mark.parametrize(("action", "outcome"), [("signal", "crash"), ("raise", "error"), ("pipe", "error")])
def test_the_other_cells_go_on(project: Project, action: str, outcome: str) -> None:
    """After a worker broke in one cell the next ones get a fresh worker, and pass."""
    project.fault("compile", action, entry="latency")
    result = project.run()

    result.assert_outcomes(passed=3, failed=1)
    assert {metric: outcome if metric == "latency" else "pass" for metric in METRICS} == project.outcomes()


@pytest.mark.parametrize(("phase", "request_name"), [("load", "load"), ("compile", "compile"), ("measure", "measure")])
def test_a_worker_that_hangs(project: Project, phase: str, request_name: str) -> None:
    """A phase that passes its deadline is a timeout that names the option, and the worker is gone."""
    project.fault(phase, "hang", entry="latency")
    result = project.run("-m", "latency or training", f"--inferena-timeout={request_name}=1")
    expected = f"{request_name}: no answer in 1 s; --inferena-timeout={request_name}=SECONDS gives it longer"

    assert f"{CELL} TIMEOUT: {expected}" in result.outlines
    assert "timeout" == project.outcomes()["latency"]
    assert ("timeout" if phase == "load" else "pass") == project.outcomes()["training"]


def test_an_adapter_may_raise_its_own_deadlines(project: Project) -> None:
    """`[timeouts]` in adapter.toml holds where the command line says nothing."""
    project.append("fake/adapter.toml", "[timeouts]\nload = 0.5\n")
    project.fault("load", "hang")
    result = project.run("-m", "latency")

    result.stdout.fnmatch_lines([f"{CELL} TIMEOUT: load: no answer in 0.5 s; *"])


def test_a_worker_that_closes_its_pipe(project: Project) -> None:
    """A worker that stops answering without ending is ended, and it is called what it is."""
    project.fault("compile", "close")
    result = project.run("-m", "latency")

    assert f"{CELL} ERROR: compile: broke the protocol: closed its pipe and went on" in result.outlines


def test_a_worker_that_prints(project: Project) -> None:
    """Standard output is the log: whatever an engine prints, even lines like answers, does no harm."""
    project.fault("measure", "print")
    result = project.run()

    result.assert_outcomes(passed=4)
    assert '{"ok": false}' not in result.stdout.str()


def test_the_log_is_shown(project: Project) -> None:
    """The end of what the worker printed stands in the failure and in the record."""
    project.fault("compile", "raise")
    result = project.run("-m", "latency")

    result.stdout.fnmatch_lines(["the end of the worker's log:", "about to raise", "RuntimeError: kernel of 3 heads"])
    assert "about to raise" in project.records()["latency"]["log"]


def test_a_long_log_is_cut(project: Project) -> None:
    """A record keeps at most 4 KiB of the log, its end."""
    project.append("fake/adapter.py", 'print("noise " * 100_000)\n')
    project.fault("compile", "raise")
    project.run("-m", "latency")
    log = project.records()["latency"]["log"]

    assert len(log.encode()) <= 4096
    assert log.rstrip().endswith("RuntimeError: kernel of 3 heads")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"phase": "compile", "action": "unsupported"}, "no rows longer than 7 (engine fake)"),
        ({"lacks": "tanh"}, "unsupported operator aten.tanh, node tanh (engine fake)"),
    ],
)
def test_what_an_engine_lacks_is_skipped(project: Project, fault: dict[str, str], reason: str) -> None:
    """An operator that is missing is a skip that names operator and engine; earlier cells keep their results."""
    project.fault(**fault, entry="training")
    result = project.run("-rs")

    assert 0 == result.ret
    result.assert_outcomes(passed=3, skipped=1)
    assert any(line.startswith("SKIPPED") and line.endswith(reason) for line in result.outlines)
    assert ("unsupported", reason) == (
        project.records()["training"]["outcome"],
        project.records()["training"]["reason"],
    )


@pytest.mark.parametrize("phase", ["hello", "load"])
def test_what_an_engine_cannot_load(phase: str, project: Project) -> None:
    """Each of its cells is unsupported for that reason, and not only the first."""
    project.fault(phase, "unsupported")
    project.run().assert_outcomes(skipped=4)

    assert {"no rows longer than 7 (engine fake)"} == {record["reason"] for record in project.records().values()}


def test_an_executable_that_cannot_be_started(project: Project) -> None:
    """A worker that is no program is an error that names it."""
    project.write("fake/engine", "no program\n").chmod(0o644)
    project.write("fake/adapter.toml", 'executable = "engine"\n' + (project.folder / "adapter.toml").read_text())
    result = project.run("-m", "latency")

    result.stdout.fnmatch_lines([f"{CELL} ERROR: cannot start */fake/engine: Permission denied"])
