"""Columns that are asked for: every format has them, with a reason where there is no figure; other tables stay."""

from __future__ import annotations

import csv
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs
from tests.records import broken, make_record, make_results, make_verdict

from pytest_inferena.cell import METRICS
from pytest_inferena.commands.cli import main
from pytest_inferena.processes import peak as peaks
from pytest_inferena.processes.peak import peak
from pytest_inferena.report import FORMATS, columns, html, models, render
from pytest_inferena.report.table import tables
from pytest_inferena.session.resources import implausible

if TYPE_CHECKING:
    from pathlib import Path

    from tests.projects import Project

    from pytest_inferena.results import Results

WRONG = {"outcome": "fail", "verdict": make_verdict(outcome="fail", nrmse=1.0, message="all zeros")}
OLD = columns.NOT_RECORDED


def asking(*names: str) -> Results:
    """A run that asked for columns: an engine with all figures, one from an older file, a wrong one, a broken one."""
    more: dict[str, Any] = {"load": 0.5, "memory": 99.96, "flop": 464_000_000, "peak": 8}
    return make_results(
        [
            make_record("compile", "alpha", **{**more, "load": 0.75, "memory": 1208.4}),
            make_record("inference", "alpha", **more),
            make_record("inference", "beta", flop=0, peak=8),
            make_record("training", "beta", missing={"memory": "nobody knows"}),
            make_record("inference", "mu", **more, **WRONG),
            make_record("inference", "zeta", **broken("crash", "killed by SIGSEGV")),
        ],
        columns=names,
    )


def shown(*names: str) -> dict[str, list[str]]:
    """What stands in the columns behind the loss: heading → a text for each engine, with the note behind a bar."""
    (table,) = tables(asking(*names))
    notes = dict(enumerate(table.notes, 1))
    texts = [
        [f"{'~' * text.struck}{text.text}" + (f" | {notes[text.note]}" if text.note else "") for text in row.texts]
        for row in table.rows
    ]
    return {table.columns[place]: [row[place] for row in texts] for place in range(-table.asked, 0)}


def test_load() -> None:
    """An engine has one figure, of the first cell that has it. A wrong one is struck, a missing one has a reason."""
    assert {
        "Load (s)": ["— | Zeta, inference, load: CRASH: killed by SIGSEGV", "0.750", "~0.500", f"— | beta, load: {OLD}"]
    } == shown("load")


def test_memory() -> None:
    """Each metric has a column of its own. What the run could not find out has its reason."""
    crash = "— | Zeta, inference, inference memory: CRASH: killed by SIGSEGV"
    assert {
        "Compile memory (MiB)": ["·", "1 208", "·", "·"],
        "Inference memory (MiB)": [crash, "100", "~100", f"— | beta, inference memory: {OLD}"],
        "Training memory (MiB)": ["·", "·", "·", "— | beta, training memory: nobody knows"],
    } == shown("memory")


def test_throughput() -> None:
    """What a step processes, by its time; a run that says nothing of it, or of the tiny size, has the reason."""
    crash = "— | Zeta, inference, inference throughput: CRASH: killed by SIGSEGV"
    assert {
        "Inference throughput (images/s)": [crash, "4.31", "~4.31", "4.31"],
        "Training throughput (images/s)": ["·", "·", "·", "4.31"],
    } == shown("throughput")

    tiny, unknown = make_record(size="tiny"), make_record(model="own")
    assert columns.SIZE == columns.KINDS["throughput"].figure(asking().run, tiny)
    (table,) = tables(make_results([tiny], columns=["throughput"]))
    assert "Inference throughput (images/s)" == table.columns[-1]
    assert columns.UNSAID == columns.KINDS["throughput"].figure(asking().run, unknown)


def test_gflops() -> None:
    """What one step of the Program takes, by the time of it. A model of which nothing is counted has the reason."""
    crash = "— | Zeta, inference, inference rate: CRASH: killed by SIGSEGV"
    assert {
        "Inference rate (GFLOP/s)": [crash, "2.00", "~2.00", f"— | beta, inference rate: {columns.UNCOUNTED}"],
        "Training rate (GFLOP/s)": ["·", "·", "·", f"— | beta, training rate: {OLD}"],
    } == shown("gflops")

    judged = make_record(flop=5, median=None, interval=None, samples=[])
    assert columns.NOT_MEASURED == columns.KINDS["gflops"].figure(asking().run, judged)


def test_peak() -> None:
    """The rate as a share of what the machine reaches; a run that did not ask for it has the reason."""
    crash = "— | Zeta, inference, inference peak share: CRASH: killed by SIGSEGV"
    assert {
        "Inference peak share (%)": [crash, "25.0", "~25.0", f"— | beta, inference peak share: {columns.UNCOUNTED}"],
        "Training peak share (%)": ["·", "·", "·", f"— | beta, training peak share: {OLD}"],
    } == shown("peak")

    unasked = make_record(flop=5)
    assert OLD == columns.KINDS["peak"].figure(asking().run, unasked)


@pytest.mark.parametrize("changes", [{"median": 0}, {"median": 5e-324}, {"peak": 0}, {"peak": 5e-324}])
def test_figures_that_are_none(changes: dict[str, Any]) -> None:
    """A file of others may have times and peaks of nothing, or next to it; every format shows it all the same."""
    record = make_record(**{"flop": 2**62, "peak": 8, **changes})
    results = make_results([record], columns=[*columns.KINDS])

    assert isinstance(columns.KINDS["peak"].figure(results.run, record), str)
    assert all(render(results, kind) for kind in FORMATS)


def test_quicker_than_the_machine(project: Project) -> None:
    """A step that does more than 1.1 times what the machine reaches is implausible, and says so; compiling is none."""
    project.append(
        "conftest.py", "from pytest_inferena.processes import peak\npeak.peak = lambda threads: 1e-9 * threads\n"
    )
    result = project.run("-m", "latency or compile", "--inferena-columns=peak")
    records = project.records()

    assert ["implausible"] == [flag for flag in records["latency"]["flags"] if flag != "noisy"]
    assert "implausible" not in records["compile"]["flags"]
    assert 1e-9 == records["latency"]["peak"]
    result.stdout.fnmatch_lines(["*implausible: * GFLOP/s, where a product of", "*matrices reaches 1e-9*"])


@pytest.mark.parametrize(("peak", "said"), [(1.0, True), (1.2, False)])
def test_a_tenth_above_the_peak_is_plausible(peak: float, *, said: bool) -> None:
    """The peak was measured too, and something else may have slowed it down."""
    cell = make_record(threads=1)

    assert said == implausible(cell, 25 * 10**8, {"median": 2.0, "peak": peak})
    assert not implausible(cell, None, {"median": 2.0, "peak": peak})
    assert not implausible(cell, 25 * 10**8, {"median": 2.0})


def test_what_this_machine_reaches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is measured once, by a process with torch; one that breaks has its last line as the reason."""
    peak.cache_clear()
    found = peak(1)
    monkeypatch.setattr(peaks, "PRODUCT", tmp_path)

    assert isinstance(found, float)
    assert 0.1 < found < 10_000
    assert found == peak(1)
    assert f"{peaks.NONE}: " in str(peak(2))


def test_every_format_has_what_was_asked_for() -> None:
    """A terminal, Markdown, CSV, the page and its Markdown; JSON has the fields and the names."""
    results = asking("load")
    _, *rows = csv.reader(render(results, "csv").splitlines())
    (tab,) = html.document([results])["tabs"]
    (page,) = models.pages([results]).values()

    assert "Load\n" in render(results, "terminal").replace(" ", "")
    assert "| Load (s) |" in render(results, "md").replace("   ", " ").replace("  ", " ")
    assert ["0.75", "0.5", "", "", "0.5", ""] == [row[-2] for row in rows]
    assert ["", "", OLD, OLD, "", "CRASH: killed by SIGSEGV"] == [row[-1] for row in rows]
    assert {"metric": "load", "unit": "s", "asked": True} == tab["columns"][-1]
    assert [None, 0.75, 0.5, None] == [row["cells"]["load"]["value"] for row in tab["rows"]]
    assert "Load (s)" in page
    assert '"columns": ["load"]' in render(results, "json")


@pytest.mark.parametrize("kind", sorted({*FORMATS} - {"json"}))
def test_nobody_asked(kind: str) -> None:
    """Figures that records have beside the metrics' change no report, but for JSON, which has all fields."""
    results = asking()
    bare = replace(
        results,
        records=tuple(
            structs.replace(record, load=None, memory=None, flop=None, peak=None) for record in results.records
        ),
    )

    assert render(bare, kind) == render(results, kind)


def test_an_older_version_reads_what_a_newer_one_asked_for() -> None:
    """A name that it does not know is left out; a file without figures is shown with the reason."""
    assert ["Load (s)"] == [*shown("energy", "load")]


def test_unknown_column(project: Project) -> None:
    """One line names those that there are, whether the command line or the ini file has it."""
    known = f"known are {', '.join(columns.KINDS)}"
    refused = project.run("--inferena-columns=load,lod")
    project.append("pytest.ini", "inferena_columns = lod\n")
    ini = project.run("-m", "latency")

    assert refused.ret == ini.ret == pytest.ExitCode.USAGE_ERROR
    refused.stderr.fnmatch_lines([f"ERROR: --inferena-columns: unknown column 'lod'; {known}"])
    ini.stderr.fnmatch_lines([f"ERROR: inferena_columns: unknown column 'lod'; {known}"])


def test_the_command_asks_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A page of result files has the columns that the command names, whatever their runs asked for."""
    file, page = tmp_path / "all.json", tmp_path / "page.html"
    file.write_text(render(asking(), "json"))

    assert 0 == main(["report", str(file), "--html", str(page), "--columns=load"])
    assert '"metric":"load"' in page.read_text()
    assert 1 == main(["report", str(file), "--html", str(page), "--columns=lod"])
    assert "inferena: report: --columns: unknown column 'lod'; known are load" in capsys.readouterr().err


def test_a_run_records_and_shows_it(project: Project) -> None:
    """Every record has the figures, and a run from whose ini file a column comes shows it."""
    project.append("pytest.ini", "inferena_columns =\n    load\n    memory\n")
    result = project.run("-m", "latency or compile")

    for record in project.records().values():
        assert 0 < record["load"] < 60
        assert 0 < record["memory"] < 500
        assert {} == record["missing"]
    result.stdout.fnmatch_lines(["  Load (s): *", "  Compile memory (MiB): *", "  Latency memory (MiB): *"])


def test_where_nothing_is_measured(project: Project) -> None:
    """There is no memory, as the table says. How long the engine loaded, and what a step takes, is known."""
    result = project.run("--benchmark-disable", "--inferena-columns=memory,load")
    records = project.records()

    assert (True, None) == (records["latency"]["load"] > 0, records["latency"]["memory"])
    forward = 2 * (
        8 * 16 + 16 * 16 + 16 * 4
    )  # of one row; training has gradients of weights, and of what they are given
    assert [4 * forward, 4 * forward, forward, 4 * (2 * forward + 2 * (16 * 16 + 16 * 4))] == [
        records[metric]["flop"] for metric in METRICS
    ]
    result.stdout.fnmatch_lines([f"*memory: {columns.NOT_MEASURED}"])
    assert "unsupported" not in result.stdout.str()
