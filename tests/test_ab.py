"""Tests of `inferena ab`: two versions in turns, as folders, revisions or distributions."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.records import broken, make_record, make_results

from pytest_inferena import results
from pytest_inferena.commands import ab, cli
from pytest_inferena.engines import distributions
from pytest_inferena.engines.framework import Framework
from pytest_inferena.session.figures import figures

if TYPE_CHECKING:
    from pathlib import Path

    from tests.projects import Project

CELL = ["--rounds=3", "--", "-m", "latency", *["--inferena-threads=1", "--benchmark-min-rounds=3"]]
CELL += ["--benchmark-warmup=off", "--benchmark-max-time=0.05"]


@pytest.fixture
def here(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The folder in which the command runs."""
    monkeypatch.chdir(project.path)
    return project


def test_folders(here: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second is slower: exit code 1, three processes on each side, one after the other and then the other way."""
    slow = shutil.copytree(here.path, tmp_path / "slow")
    here.fault(engine=f"{slow}/fake", sleep=0.02)

    assert 1 == cli.main(["ab", "--base=.", f"--head={slow}", "--fail-on=latency>50%,verdict", *CELL])
    printed = capsys.readouterr()
    said = printed.out.splitlines()
    assert not printed.err
    assert ["base", "head", "head", "base", "base", "head"] == [line.split()[4].rstrip(":") for line in said[:6]]
    assert said[-1].startswith("latency>50%: Tiny MLP, Fake Engine, latency is ")
    assert said[-1].endswith("% slower, over 99% sure")
    for name in ("base", "head"):
        (record,) = results.read(here.path / "ab" / f"{name}.json").records
        assert 3 == len(record.samples)
    assert 0 == cli.main(["ab", f"--base={slow}", "--head=.", "--fail-on=latency>50%,verdict", *CELL])


def test_revisions(here: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Each is checked out for the run, and gone afterwards; a wrong result is a worse one."""
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run([*git, "init", "-q"], check=True)
    for fault in ({}, {"result": "wrong"}):
        here.fault(**fault)
        subprocess.run([*git, "add", "-f", "."], check=True)
        subprocess.run([*git, "commit", "-qm", "x"], check=True)

    assert 1 == cli.main(["ab", "--base=HEAD~1", "--head=HEAD", "--fail-on=verdict", *CELL])
    assert "verdict: Tiny MLP, Fake Engine, latency got worse: FAIL" in capsys.readouterr().out
    left = subprocess.run(["git", "worktree", "list"], check=True, capture_output=True, text=True).stdout
    assert 1 == len(left.splitlines())


def test_distributions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, project: Project) -> None:
    """Each engine that requires one gets an environment with that version, and what else it requires."""
    project.append("fake/adapter.toml", "")
    engine = replace(Framework.read(project.folder), requires=("numpy>=1", "safetensors"))
    installed: list[tuple[tuple[str, ...], str]] = []

    def install(says: Any, own: str) -> Path:
        installed.append((says.requires, own))
        return tmp_path / own

    monkeypatch.setattr(distributions, "install", install)
    found = [*ab.interpreters("base", "numpy==2.1.0", [engine])]

    assert [(("numpy==2.1.0", "safetensors"), "fake-numpy-2.1.0")] == installed
    assert [f"--inferena-python=fake={tmp_path / 'fake-numpy-2.-'}"] == [
        *ab.interpreters("head", "numpy==2.*", [engine])
    ]
    assert [f"--inferena-python=fake={tmp_path / 'fake-numpy-2.1.0'}"] == found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--base=nothing"], "--base=nothing: no folder, no revision that git knows here, no distribution==VERSION"),
        (["--base=numpyy==1"], "--base=numpyy==1: no engine requires numpyy"),
        (["--base=jax==0.2.0"], "--base=jax==0.2.0: JAX is run with jax<1,>=0.10 only, which was tested"),
        (["--base=numpy=1"], "--base=numpy=1: Expected "),
        (["--base=.", "--rounds=0"], "--rounds=0: a whole number from 1 to 1000 is expected"),
        (["--base=.", "--fail-on=latency>x%"], "--fail-on=latency>x%: 'latency>x%' is no rule: "),
        (["--base=.", "--", "-k", "nothing"], "base: pytest measured nothing and ended with 5:\n"),
    ],
)
def test_bad_input(arguments: list[str], message: str, here: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """It is one message."""
    assert here.path.is_dir()
    assert 1 == cli.main(["ab", "--head=.", *arguments])
    assert capsys.readouterr().err.startswith(f"inferena: {message}")


def test_nothing_that_ran(here: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """A side on which no cell could run is no base to be better than; the reason is said once."""
    here.fault("load", "unsupported")

    assert 1 == cli.main(["ab", "--base=.", "--head=.", "--", "-m", "latency or inference", "--inferena-threads=1"])
    assert "inferena: base: no cell ran: no rows longer than 7 (engine fake)\n" == capsys.readouterr().err


def test_one_that_is_wrong_once() -> None:
    """The first wrong verdict of a cell counts, and not the figures of the other turns."""
    right, wrong = (make_results([one]) for one in (make_record(), make_record(**broken("crash", "SIGSEGV"))))
    (record,) = ab.joined([right, wrong, right]).records

    assert ("crash", None) == (record.outcome, record.median)


def test_turns_are_processes() -> None:
    """The samples of each are a process's, and median and interval are those of all."""
    turns = [make_results([make_record(samples=[samples])]) for samples in ([0.1, 0.2], [0.3, 0.5], [0.4, 0.4])]
    (record,) = ab.joined(turns).records

    assert figures([(0.1, 0.2), (0.3, 0.5), (0.4, 0.4)]) == {
        "median": record.median, "samples": record.samples, "interval": record.interval
    }  # fmt: skip
