"""The place that a run has: what cannot be written is said, and CI sees it; what nobody should see is not passed on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.projects import MODEL
from tests.test_bad_input import said

from pytest_inferena.store.turns import NAME, turn

if TYPE_CHECKING:
    from pathlib import Path

    from tests.projects import Project


@pytest.mark.parametrize("option", ["--inferena-report=md:file/report.md", "--inferena-results=file/run.jsonl"])
def test_what_was_asked_for_is_not_written(project: Project, option: str) -> None:
    """A report or a journal that cannot be written is an exit code that CI sees, although every cell is right."""
    project.write("file", "")
    result = project.run("-m", "latency", "--benchmark-disable", option, fast=False)

    result.assert_outcomes(passed=1)
    assert pytest.ExitCode.TESTS_FAILED == result.ret
    result.stdout.fnmatch_lines(["inferena: *cannot be written: *"])


def test_no_place_for_the_cache(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """One message before the run, with the remedy."""
    monkeypatch.setenv("INFERENA_CACHE", str(project.write("file", "") / "cache"))

    expected = f"the cache {project.path}/file/cache cannot be made: Not a directory"
    assert f"{expected}; INFERENA_CACHE=FOLDER names another place" == said(project.run("-m", "latency"))


CHATTY = """
import os
print({name: value for name, value in os.environ.items() if "KEY" in name or name == "OWN_DATA"}, flush=True)
"""


def test_a_secret_is_not_passed_on(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that prints its environment and dies shows no token; what the user lets through is there."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "do not tell")
    monkeypatch.setenv("OWN_DATA", "may be told")
    project.write("models/own.py", MODEL.read_text() + f"{CHATTY}os._exit(3)\n")
    project.run("-m", "latency", "-k", "own", "--inferena-env=OWN_DATA")
    reason = project.records()["latency"]["reason"]

    assert "prepare: the preparer exited with status 3: {'OWN_DATA': 'may be told'}" == reason


def test_a_model_that_is_too_large_is_out_of_memory(project: Project) -> None:
    """What torch cannot allocate is no error of the model; the message says how much it was."""
    text = MODEL.read_text().replace("    del size, seq\n", "    del size, seq\n    torch.empty(10**15)\n")
    project.write("models/own.py", text)
    project.run("-m", "latency", "-k", "own")
    record = project.records()["latency"]

    assert "oom" == record["outcome"]
    assert "4000000000000000 bytes" in record["reason"]


def test_a_brace_in_a_variable(project: Project) -> None:
    """Only the words that are known are filled in; a lone brace is text."""
    project.append("fake/adapter.toml", '[env]\nFAKE = "{ {threads} {other} }"\n')
    project.append("fake/adapter.py", "\nprint(os.environ['FAKE'], flush=True)\n")
    project.fault("compile", "raise")
    project.run("-m", "latency")

    assert "{ 1 {other} }" in project.records()["latency"]["log"]


def test_turns_are_taken_by_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock lies where every user looks, whatever HOME is. If that is taken by a folder, it is the user's own."""
    monkeypatch.setenv("INFERENA_LOCKS", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "nowhere"))
    monkeypatch.setenv("INFERENA_CACHE", str(tmp_path / "cache"))
    with turn():
        shared = (tmp_path / NAME).stat().st_mode & 0o777
    (tmp_path / NAME).unlink()
    (tmp_path / NAME).mkdir()
    with turn():
        own = (tmp_path / "cache" / NAME).is_file()

    assert (0o444, True) == (shared, own)
