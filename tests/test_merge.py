"""Tests of `inferena merge`: several runs in one file, nothing dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.records import make_record, make_results, make_run, timed

from pytest_inferena.commands import cli
from pytest_inferena.report import render
from pytest_inferena.results import Results, ResultsError, read, read_all
from pytest_inferena.results.merge import merge

if TYPE_CHECKING:
    from pathlib import Path

FIRST, SECOND = make_record(), make_record("latency")
LATER = make_run(id="later", date="2026-11-22T12:00:00Z")


def merged(folder: Path, *runs: Results) -> tuple[Results, ...]:
    """What the command writes of files with these runs."""
    files = [folder / f"{number}.json" for number, _ in enumerate(runs)]
    for file, results in zip(files, runs, strict=True):
        file.write_text(render(results, "json"))
    assert 0 == cli.main(["merge", *map(str, files), "-o", str(folder / "made" / "all.json")])
    return read_all(folder / "made" / "all.json")


def test_runs_of_several_days(tmp_path: Path) -> None:
    """Every run keeps its header and its records; the oldest comes first."""
    runs = (Results(LATER, (FIRST,)), make_results([FIRST, SECOND]))

    assert (runs[1], runs[0]) == merged(tmp_path, *runs)


def test_merging_again_changes_nothing(tmp_path: Path) -> None:
    """A merged file can be merged, also with a file that is in it."""
    runs = merged(tmp_path, make_results([FIRST]), Results(LATER, (FIRST,)))
    all_runs, conflicts = merge([*runs, make_results([FIRST])])

    assert ([*runs], []) == (all_runs, conflicts)


def test_parts_of_a_run_are_joined(tmp_path: Path) -> None:
    """Two files of one run become one, which is read like any result file."""
    merged(tmp_path, make_results([FIRST]), make_results([SECOND]))

    assert (FIRST, SECOND) == read(tmp_path / "made" / "all.json").records


def test_conflicts_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where two files disagree on a cell both records stay, and a sentence says so."""
    other = make_record(**timed(0.5, 0.01))
    runs = merged(tmp_path, make_results([FIRST]), make_results([other, SECOND]))

    assert [(FIRST, SECOND), (other,)] == [results.records for results in runs]
    assert "two records of unet-alpha-main-inference; both are kept" in capsys.readouterr().err


def test_two_headers(tmp_path: Path) -> None:
    """A run whose header was changed is another entry."""
    changed = make_run(commit="changed")

    assert 2 == len(merged(tmp_path, make_results([FIRST]), Results(changed, (FIRST,))))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"schema": 1, "runs": {}}', "runs: expected a list"),
        ('{"schema": 1, "runs": [3]}', "runs: expected objects with run and records"),
        ('{"schema": 9, "runs": [{"run": {}, "records": []}]}', "has schema 9"),
        ('{"schema": 1, "runs": [{"run": {}, "records": []}]}', "run: id: is missing"),
    ],
)
def test_a_broken_file(text: str, message: str, tmp_path: Path) -> None:
    """It is refused by one line."""
    (tmp_path / "all.json").write_text(text)

    with pytest.raises(ResultsError, match=message):
        read_all(tmp_path / "all.json")


def test_where_one_run_is_needed(tmp_path: Path) -> None:
    """A merged file is no journal to resume, and says what it is."""
    merged(tmp_path, make_results([FIRST]), Results(LATER, (FIRST,)))

    with pytest.raises(ResultsError, match="holds several runs"):
        read(tmp_path / "made" / "all.json")
