"""Tests of `inferena history`: runs are kept once, those of one machine are joined, and what moved has a cause."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.records import RUN, broken, make_record, make_results, make_run, timed

from pytest_inferena.commands import cli
from pytest_inferena.report import render
from pytest_inferena.report.history import render as shown
from pytest_inferena.report.trends import trace
from pytest_inferena.results import Journal, Results, read_all

DAYS = [0.100] * 4 + [0.110] * 4
"""A median for each run: two levels."""


def history(*records: Any, later: dict[str, Any] | None = None) -> list[Results]:
    """A run a day; the records and, where the second level begins, the headers are otherwise in these fields."""
    return [
        make_results(
            [make_record(**timed(median, 0.0005), **(records[day] if records else {}))],
            id=f"run-{day}", date=f"2026-11-0{day + 1}T12:00:00Z", **((later or {}) if day >= 4 else {}),
        )
        for day, median in enumerate(DAYS)
    ]  # fmt: skip


def versions(number: str) -> dict[str, Any]:
    """A record of this version of the engine."""
    return {"versions": {"alpha": number, "helper": "3"}}


OLD, NEW = versions("1.2.3"), versions("1.3.0")


@pytest.mark.parametrize(
    ("records", "later", "named", "others"),
    [
        ([OLD] * 4 + [NEW] * 4, {}, ["alpha 1.2.3 → 1.3.0"], []),
        ([OLD] * 4 + [NEW] * 4, {"commit": "beef"}, ["alpha 1.2.3 → 1.3.0"], ["commit 1a2b3c4 → beef"]),
        ([OLD] * 2 + [NEW] * 6, {"commit": "beef"}, [], ["commit 1a2b3c4 → beef"]),
        ([], {"platform": {**RUN["platform"], "python": "3.12.1"}}, [], ["Python 3.11.9 → 3.12.1"]),
        ([{}] * 4 + [{"outcome": "close"}] * 4, {}, [], ["verdict PASS → CLOSE"]),
        ([OLD] * 4 + [{"versions": {"alpha": "1.2.3"}}] * 4, {}, ["helper 3 → none"], []),
        ([], {}, [], []),
    ],
)
def test_what_moved_with_it(
    records: list[dict[str, Any]], later: dict[str, Any], named: list[str], others: list[str]
) -> None:
    """A change point names the versions, and whatever else is otherwise, of the runs on both sides of it."""
    (series,) = trace(reversed(history(*records, later=later))).series
    (move,) = series.moves

    assert ("run-3", "run-4") == (move.last, move.first)
    assert (named, others) == (move.versions, move.others)
    assert 1.1 == pytest.approx(move.new / move.old)


def test_another_program_begins_a_series() -> None:
    """Its figures are no change; one that comes back is joined to its own."""
    other: dict[str, Any] = {"hashes": {"program": "c" * 64}}
    changed, turns = trace(history(*[{}] * 4, *[other] * 4)), trace(history(*[{}, other] * 4))

    assert [4, 4] == [len(series.points) for series in changed.series]
    assert ["", "not the same program: aaaa1111, now cccccccc"] == [series.apart for series in changed.series]
    assert not any(series.moves for series in changed.series)
    assert [4, 4] == [len(series.points) for series in turns.series]


def test_cells_are_apart() -> None:
    """Threads and backends have series of their own. Their names tell them apart, seen from the last run."""
    fields: list[dict[str, Any]] = [{"threads": 1}] * 2 + [{"backend": "fast"}] * 2 + [{}] * 4
    work, engine = ("Small U-Net", "Small U-Net, threads 2"), ("Alpha (main)", "Alpha (fast)")
    expected = [f"{work[0]}, {engine[0]}", f"{work[1]}, {engine[1]}", f"{work[1]}, {engine[0]}"]

    found = trace(history(*fields, later={"threads": 1}))
    assert [f"{name}, inference" for name in expected] == [series.cell for series in found.series]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the history, in a folder of its own in which the command runs."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / ".inferena" / "history"


def keep(path: Path, *runs: Results) -> int:
    """Write a file for each run beside the history, and let the command keep them."""
    files = [path.parent.parent / f"{number}.json" for number, _ in enumerate(runs)]
    for file, results in zip(files, runs, strict=True):
        file.write_text(render(results, "json"))
    return cli.main(["history", f"--folder={path}", "add", *map(str, files)])


def test_a_trend_is_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command says how many runs there are, the first and the last figure, and with which version it moved."""
    later = {"commit": "beef"}
    assert 0 == keep(folder, *history(*[OLD] * 4, *[NEW] * 4, later=later))
    capsys.readouterr()
    assert 0 == cli.main(["history"])
    said = capsys.readouterr()

    assert not said.err
    assert "Acme One @ 2.10GHz, 0123456789abcdef: 8 runs, 2026-11-01T12:00:00Z to 2026-11-08T12:00:00Z" in said.out
    assert re.search(r"Alpha, inference \(ms\) +8 +100 ±0\.5 % +110 ±0\.5 % +\+10\.0%, 1 change point\n", said.out)
    assert (
        "Small U-Net, Alpha, inference: +10.0% (100 → 110 ms) with alpha 1.2.3 → 1.3.0; also commit 1a2b3c4 → beef; "
        "first run run-4, the one before run-3"
    ) in said.out
    assert "(100 → 110 ms) while nothing changed that the runs record; first run run-4" in shown(trace(history()))


def test_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A program gets the cells that it asked for, their figures in seconds, and each change point."""
    mu = make_record(framework="mu")
    keep(folder, *(Results(one.run, (*one.records, mu)) for one in history(*[OLD] * 4, *[NEW] * 4)))
    capsys.readouterr()
    assert 0 == cli.main(["history", "--json", "--framework=alpha", "--metric=inference", "--model=unet"])
    said = json.loads(capsys.readouterr().out)
    (series,) = said["series"]
    (move,) = series["moves"]

    assert "0123456789abcdef" == said["platform"]["identity"]
    assert ("alpha", "main", "inference") == (series["framework"], series["backend"], series["metric"])
    assert [("run-0", 0.1), ("run-1", 0.1)] == [(one["run"], one["median"]) for one in series["points"][:2]]
    assert "run-4" == move["first"]
    assert 1.1 == pytest.approx(move["ratio"])


def test_a_run_is_kept_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same file again changes nothing; a journal that has grown adds its cells; nothing else is left there."""
    first, second = make_record(), make_record("latency")
    journal = folder.parent / "run.jsonl"
    for record in (first, second):
        with Journal(journal, make_run()) as file:
            file.append(record)
        for said in ("kept", "is there already"):
            assert 0 == cli.main(["history", "add", str(journal)])
            assert said in capsys.readouterr().out

    assert [f"{RUN['id']}.json"] == [path.name for path in folder.iterdir()]
    assert (first, second) == read_all(folder / f"{RUN['id']}.json")[0].records


@pytest.mark.parametrize("words", [["--folder=mine", "add", "run.json"], ["add", "--folder=mine", "run.json"]])
def test_a_folder_of_ones_own(folder: Path, words: list[str]) -> None:
    """It may be named before `add` and behind it."""
    Path("run.json").write_text(render(make_results([make_record()]), "json"))
    assert 0 == cli.main(["history", *words])

    assert Path("mine", f"{RUN['id']}.json").exists()
    assert not folder.exists()


def test_runs_that_disagree_are_both_kept(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of two files with one run a sentence tells where they differ, and the trend takes the later one."""
    for outcome in (broken("crash", "SIGSEGV"), {}):
        assert 0 == keep(folder, make_results([make_record(**outcome)]))
    assert "two records of unet-alpha-main-inference; both are kept" in capsys.readouterr().err
    (path,) = folder.iterdir()
    both = read_all(path)

    assert ["crash", "pass"] == [record.outcome for results in both for record in results.records]
    again = trace([*both, both[1]])
    assert (1, [1]) == (len(again.runs), [len(series.points) for series in again.series])


def test_other_machines(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The last run's is shown. A line tells of each other one, how to see it, and of runs of no known machine."""
    runs = history()
    for run, name in ((0, "ffff"), (1, "ffff"), (2, "")):
        other = {**RUN["platform"], "identity": name}
        runs[run] = make_results(runs[run].records, id=f"run-{run}", date=runs[run].run.date, platform=other)
    keep(folder, *runs)
    (folder / "copy.json").write_text((folder / "run-0.json").read_text())
    capsys.readouterr()
    assert 0 == cli.main(["history"])
    said = capsys.readouterr()

    assert "0123456789abcdef: 5 runs" in said.out
    assert "left out: run-2: no file says on which machine that was, so it joins no other run" in said.err
    assert "left out: 2 runs of another machine, acme-one-2c; --machine=ffff shows them" in said.err
    assert 0 == cli.main(["history", "--machine=ff"])
    assert "ffff: 2 runs" in capsys.readouterr().out
    assert 1 == cli.main(["history", "--machine=abc"])
    assert "--machine=abc: names 0 machines; there are ffff (acme-one-2c), 0123" in capsys.readouterr().err


def test_this_machine_comes_first(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where it has runs they are shown, also if another machine's are newer."""
    monkeypatch.setattr("pytest_inferena.commands.history.identity", lambda: "ffff")
    here = make_results([make_record()], id="here", platform={**RUN["platform"], "identity": "ffff"})
    keep(folder, here, make_results([make_record()], date="2026-12-01T00:00:00Z"))
    assert 0 == cli.main(["history"])

    assert "ffff: 1 run, 2026-11-21" in capsys.readouterr().out


def test_figures_that_do_not_count(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each reason names the cells, and the others are shown."""
    single: dict[str, Any] = {"interval": None, "samples": [[0.232]]}
    records = [
        make_record(), make_record("compile", **single), make_record("latency", median=None, interval=None, samples=[]),
        make_record("training", **broken("crash", "SIGSEGV")), make_record("training", "mu", flags=["implausible"]),
        make_record("inference", "zeta", **broken("not_installed", "pip install zeta")),
    ]  # fmt: skip
    keep(folder, make_results(records))
    capsys.readouterr()
    assert 0 == cli.main(["history"])
    said = capsys.readouterr().out

    assert re.search(r"Small U-Net, Alpha, inference \(ms\) +1 +232 ±0\.9 % +232 ±0\.9 % +too few runs\n", said)
    assert said.endswith("""
left out: Small U-Net, Alpha, compile (1 run): a single sample has no interval; --inferena-processes=3 takes three
left out: Small U-Net, Alpha, latency (1 run): judged only, and not timed
left out: Small U-Net, Alpha, training (1 run): CRASH, so no figure counts
left out: Small U-Net, Mu, training (1 run): implausible
A change point takes 6 runs, 3 on each side.
""")


def test_broken_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One that cannot be read is told, stays where it is, and costs no other."""
    (folder.parent.parent / "torn.json").write_text("{")
    keep(folder, make_results([make_record()]))
    assert 1 == cli.main(["history", "add", f"--folder={folder}", "torn.json", "0.json", "nowhere.json"])
    said = capsys.readouterr()

    assert "is there already" in said.out
    assert "left out: torn.json: holds neither a journal nor a results document" in said.err
    assert "left out: nowhere.json: cannot be read: No such file" in said.err
    for name in ("torn.json", "notes.txt", "run-2.json"):
        (folder / name).write_text("{")
    assert 1 == keep(folder, *(make_results([make_record()], id=name) for name in ("run-2", "run-3")))
    assert "run-3: kept" in capsys.readouterr().out
    (folder / "run-2.json").unlink()
    (folder / "folder.json").mkdir()
    assert 0 == cli.main(["history"])
    said = capsys.readouterr()
    assert "232 ±0.9 %" in said.out
    assert 1 == said.err.count("left out: ")
    assert "left out: .inferena/history/torn.json: holds neither a journal nor a results document" in said.err
    assert "{" == (folder / "torn.json").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], ".inferena/history: no run is kept here; 'inferena history add .inferena/*.jsonl' keeps some"),
        (["--folder=nowhere"], "nowhere: no run is kept here"),
        (["--folder=kept", "--framework=zeta"], "--framework=zeta: no run has it; there are alpha"),
        (["--folder=unknown"], "no run says on which machine it was measured"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    """One line says what is wrong and what to do."""
    for name, identity in (("kept", "0123"), ("unknown", "")):
        (tmp_path / name).mkdir()
        results = make_results([make_record()], platform={**RUN["platform"], "identity": identity})
        (tmp_path / name / "a.json").write_text(render(results, "json"))

    assert 1 == cli.main(["history", *arguments])
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_without_ruptures(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Runs are kept, and one line names what to install to see them."""
    monkeypatch.setitem(sys.modules, "ruptures", None)

    assert 0 == keep(folder, make_results([make_record()]))
    assert 1 == cli.main(["history"])
    assert "pip install 'pytest-inferena[history]'" in capsys.readouterr().err
