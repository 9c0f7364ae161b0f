"""How a run fits in with pytest's own options, and with a disk that is full."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.in_ci import long

from pytest_inferena.cell import METRICS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.projects import Project

FULL = '''\
"""After the first record the disk takes less and less of what is written, and in the end nothing."""

import errno
import os
import stat

write = os.write


def full(file, data):
    if not stat.S_ISREG(os.fstat(file).st_mode):
        return write(file, data)
    if len(data) < 100:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return write(file, data[: len(data) // 2])


def pytest_inferena_record(record):
    os.write = full
'''


def test_a_full_disk_costs_the_journal_only(project: Project) -> None:
    """Where the journal cannot be written the run goes on, says so once, and shows all figures."""
    result = project.run("--inferena-results=/dev/full")
    troubles = [line for line in result.outlines if "/dev/full: cannot be written: No space left on device" in line]

    result.assert_outcomes(passed=4)
    assert 1 == len(troubles)
    assert "go on with --inferena-resume" in troubles[0]
    result.stdout.fnmatch_lines(["Fake Engine * ±*"])


def test_a_disk_that_fills_up(project: Project) -> None:
    """A journal that cannot grow any more keeps the records it has."""
    project.write("full.py", FULL)
    result = project.run("-p", "full", "-m", "compile or inference or latency")

    assert {"compile": "pass"} == project.outcomes()
    result.stdout.fnmatch_lines(["inferena: *: cannot be written: No space left on device; all records * are safe.*"])


def test_stop_at_the_first_failure(project: Project) -> None:
    """-x stops after the first failing cell; what was measured is in the journal and in the table."""
    project.fault(result="wrong", entry="inference")
    result = project.run("-x", "-m", "not compile")

    result.assert_outcomes(failed=1)
    assert {"inference": "fail"} == project.outcomes()
    result.stdout.fnmatch_lines(["Fake Engine *"])


def test_last_failed(project: Project) -> None:
    """--lf runs the cell that failed, alone."""
    project.fault("measure", "signal", entry="latency")
    project.run("-p", "cacheprovider").assert_outcomes(passed=3, failed=1)
    project.fault()

    project.run("-p", "cacheprovider", "--lf").assert_outcomes(passed=1)
    assert {"latency": "pass"} == project.outcomes()


def test_without_pytest_benchmark(project: Project) -> None:
    """`-p no:benchmark` leaves measuring, judging, journal and table as they are."""
    result = project.run("-p", "no:benchmark", "-m", "latency or compile", fast=False)

    result.assert_outcomes(passed=2)
    assert not any("benchmark '" in line for line in result.outlines)
    assert {"compile": "pass", "latency": "pass"} == project.outcomes()
    assert project.records()["latency"]["median"] > 0


def test_without_xdist(project: Project) -> None:
    """`-p no:xdist` changes nothing."""
    project.run("-p", "no:xdist").assert_outcomes(passed=4)

    assert dict.fromkeys(METRICS, "pass") == project.outcomes()


def test_warnings_as_errors(project: Project) -> None:
    """No warning comes from us, whatever the outcome, not even of a fixture that was not used."""
    project.fault(result="wrong", entry="latency")
    project.append("fake/adapter.toml", '[[absent]]\nmetric = "training"\nreason = "no"\n')
    result = project.run("-W", "error")

    result.assert_outcomes(passed=2, failed=1, skipped=1)
    assert "warning" not in result.outlines[-1]


def test_a_hook_sees_every_record(project: Project) -> None:
    """`pytest_inferena_record` is called once for each cell, whatever its outcome."""
    project.append(
        "conftest.py",
        "\n\ndef pytest_inferena_record(record):\n    print('seen', record['metric'], record['outcome'])\n",
    )
    project.fault("compile", "signal", entry="training")
    result = project.run("-s")
    seen = [line[line.index("seen ") :].split()[1:] for line in result.outlines if "seen " in line]

    assert [[metric, "crash" if metric == "training" else "pass"] for metric in METRICS] == seen


def test_interrupt(project: Project) -> None:
    """Ctrl-C keeps what was measured, shows it, and exits with 2."""
    project.append(
        "conftest.py",
        "\n\ndef pytest_inferena_record(record):\n"
        "    if record['metric'] == 'inference':\n"
        "        raise KeyboardInterrupt\n",
    )
    result = project.run()

    assert pytest.ExitCode.INTERRUPTED == result.ret
    assert {"compile": "pass", "inference": "pass"} == project.outcomes()
    result.stdout.fnmatch_lines(["Fake Engine *"])


def test_live_line_on_a_terminal(project: Project) -> None:
    """A terminal shows below pytest's own dots which cell runs and how the last one ended, and breaks no dot."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "pytest", *project.arguments("-m", "compile or latency")]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "160"}
    with subprocess.Popen(command, cwd=project.path, stdin=theirs, stdout=theirs, stderr=theirs, env=environment):
        os.close(theirs)
        said = b""
        with contextlib.suppress(OSError):  # what a terminal's end says when the other end is closed
            while part := os.read(ours, 65536):
                said += part
    os.close(ours)
    text = said.decode()

    assert "[1 of 2] mlp-fake-numeric compile since " in text
    assert "; mlp-fake-numeric compile: PASS" in text
    assert re.search(r"test_compile\.py (\x1b\[32m)?\.", re.sub(r"\x1bD\x1bM\x1b7.*?\x1b8", "", text, flags=re.DOTALL))


@pytest.mark.parametrize(("encoding", "columns"), [("ascii", 50), ("latin-1", 80), ("utf-8", 200)])
def test_tables_fit_where_they_are_shown(
    project: Project, monkeypatch: pytest.MonkeyPatch, encoding: str, columns: int
) -> None:
    """They are as wide as the terminal, hold only what its encoding has, and a dumb one gets no escape."""
    for name, value in {"COLUMNS": str(columns), "TERM": "dumb", "PYTHONIOENCODING": encoding}.items():
        monkeypatch.setenv(name, value)
    project.fault("measure", "raise", entry="training")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "pytest", *project.arguments("-m", "latency or training")]
    with subprocess.Popen(command, cwd=project.path, stdin=theirs, stdout=theirs, stderr=theirs):
        os.close(theirs)
        said = b"".join(iter(lambda: part(ours), b""))
    os.close(ours)
    table = said.decode(encoding).rpartition("Tiny MLP\r\n")[2].partition("\r\njournal:")[0].splitlines()

    assert b"\x1b" not in said
    assert max(map(len, table)) <= columns
    assert any(len(line) > 80 for line in table) == (columns > 80)
    assert ("x[1]" if encoding != "utf-8" else "✗[1]") in "".join(table)
    assert re.search(r"\d\+-\d" if encoding == "ascii" else r"\d ±\d", "".join(table))


def part(end: int) -> bytes:
    """More of what was written to a terminal; nothing at its end."""
    try:
        return os.read(end, 65536)
    except OSError:  # what a terminal's end says when the other end is closed
        return b""


def test_engines_that_search_have_to_be_asked_for(project: Project) -> None:
    """A tuned backend is left out of a plain run; asked for, it has an environment and a row of its own."""
    tuned = '[[backends]]\nname = "search"\ndevice = "cpu"\ntuned = true\nenv = {INFERENA_BEAM = "{threads}"}\n'
    project.append("fake/adapter.toml", tuned)
    search = "\nif os.environ.get('INFERENA_BEAM') == '1':\n    OPERATORS['tanh'] = lambda x: np.tanh(x) * 1.001\n"
    project.append("fake/adapter.py", search)

    project.run("-m", "latency").assert_outcomes(passed=1, deselected=7)
    result = project.run("-m", "latency", "--inferena-tuned")
    result.stdout.fnmatch_lines(["Fake Engine *±*", "*(numeric)*", "Fake Engine *≈*", "*(search, tuned)*"])
    project.run("-m", "latency and tuned")
    assert ("tuned", "close") == tuple(project.records()["latency"][key] for key in ("variant", "outcome"))


@long
def test_kernels_are_kept_where_nothing_is_measured(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker whose cells are only judged finds what the last one compiled, unless that died; a measured one never."""
    monkeypatch.setenv("INFERENA_CACHE", str(tmp_path / "cache"))  # other tests' engine has the same name
    project.append("fake/adapter.toml", '\n[env]\nKERNELS = "{kernels}"\n')
    project.append(
        "fake/adapter.py",
        "\nKERNEL = Path(os.environ['KERNELS'], 'kernel')\n"
        "with (HERE / 'found').open('a') as file:\n"
        "    print('kept' if KERNEL.exists() else 'none', file=file)\n"
        "KERNEL.touch()\n",
    )
    for arguments in ([], ["--benchmark-disable"], ["--benchmark-disable"], []):
        project.run("-m", "compile", *arguments).assert_outcomes(passed=1, deselected=3)

    assert ["none", "none", "kept", "none"] == (project.folder / "found").read_text().split()
    project.append("fake/adapter.py", "os._exit(3)\n")
    project.run("-m", "compile", "--benchmark-disable").assert_outcomes(failed=1, deselected=3)
    project.run("-m", "compile", "--benchmark-disable").assert_outcomes(failed=1, deselected=3)
    assert ["kept", "none"] == (project.folder / "found").read_text().split()[4:]


def test_dry_run(project: Project) -> None:
    """--inferena-dry-run lists cells, minutes and disk, and starts nothing."""
    project.fault("import", "exit")
    said = project.run("--inferena-dry-run").stdout
    said.fnmatch_lines(["  compile * mlp-fake-numeric * never ran here", "4 cells, about 2.0 min*"])

    assert [] == project.journals()
