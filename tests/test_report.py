"""Tests of the reports, of what they show and of what they must not lose."""
# ruff: noqa: E501  a snapshot shows lines as they are

import csv
import json
import re
import sys
from pathlib import Path

import pytest
from tests.records import broken, make_record, make_results, sample_results, timed

from pytest_inferena.report import (
    FORMATS,
    ReportError,
    ReportTarget,
    parse_report_option,
    render,
    terminal,
    write,
)
from pytest_inferena.report.table import tables
from pytest_inferena.results import Results

MARKDOWN = """\
# Results on Acme One @ 2.10GHz

## Small U-Net

| Platform           | Framework   |   Compile (s) |       Inference (ms) |        Latency (ms) |    Training (ms) |   Loss |
|:-------------------|:------------|--------------:|---------------------:|--------------------:|-----------------:|-------:|
| Acme One @ 2.10GHz | Alpha       |          1.23 |           232 ±0.9 % |         9.12 ±1.1 % | 1 208 ±1.0 % [1] | 0.1235 |
| Acme One @ 2.10GHz | Mu (fast)   |             · |                ✗ [2] |                   · |            — [3] |  — [3] |
| Acme One @ 2.10GHz | Mu (main)   |         0.500 | **≈ 100 ±0.5 %** [4] | ~~1.00 ±0.0 %~~ [5] |            ✗ [6] |  — [6] |

1. Alpha, training: few: only 3 samples
2. Mu (fast), inference: TIMEOUT: compile took over 900 s
3. Mu (fast), training: UNSUPPORTED: operator aten.foo
4. Mu (main), inference: CLOSE: output is near (NRMSE 1.2e-3 of limit 1e-5 on output); where: inferena explain unet-mu-main-inference
5. Mu (main), latency: FAIL: output is all zeros; NRMSE 1.0 of limit 1e-5; where: inferena explain unet-mu-main-latency
6. Mu (main), training: CRASH: killed by SIGSEGV

- Verdict: 5 of 9 cells PASS, 1 CLOSE, 1 FAIL, 1 CRASH, 1 TIMEOUT; worst NRMSE 1 of limit 1e-5 on output (Mu (main), latency); golden loss 0.1235
- Weights: seeded
- Step: 1 image in one inference step
- Threads: 2
- Versions: Alpha: alpha 1.2.3, ran alpha cpu; Mu (fast): mu 1.2.3, ran mu cpu; Mu (main): mu 1.2.3, ran mu cpu
- Hashes: program aaaa1111; weights bbbb2222
- Flags: resumed (Alpha inference); few (Alpha training)
- Not installed: 1 more engine: inferena doctor
- Platform: Acme One @ 2.10GHz, 8192 MiB, Acme Linux 1 (Linux 6.8 x86_64), Acme G1, driver 570.1, Python 3.11.9
- Date: 2026-11-21T12:00:00Z
- Commit: 1a2b3c4
- Command: pytest benchmarks --inferena-report=md:report.md

## Legend

- **bold**: best of its column; all of those whose 95 % intervals overlap with the best
- ≈: CLOSE: right, but at reduced precision
- †: the engine ran the baseline's graph of forward and backward; the others differentiate by themselves
- ~~struck~~: FAIL: the result is wrong, so the figure does not count
- ✗: it broke
- —: unsupported
- ·: not part of this run
- no ±: a single sample, as compile times are: the next one may lie anywhere, so it is never best
"""

TERMINAL = """\
Small U-Net

Framework      Compile       Inference          Latency        Training    Loss
                   (s)            (ms)             (ms)            (ms)
-----------  ---------  --------------  ---------------  --------------  ------
Alpha             1.23       232 ±0.9%       9.12 ±1.1%  1 208 ±1.0%[1]  0.1235
Mu (fast)            ·            ✗[2]                ·            —[3]    —[3]
Mu (main)        0.500  *≈100 ±0.5%[4]  (1.00 ±0.0%)[5]            ✗[6]    —[6]

[1] Alpha, training: few: only 3 samples
[2] Mu (fast), inference: TIMEOUT: compile took over 900 s
[3] Mu (fast), training: UNSUPPORTED: operator aten.foo
[4] Mu (main), inference: CLOSE: output is near (NRMSE 1.2e-3 of limit 1e-5 on
    output); where: inferena explain unet-mu-main-inference
[5] Mu (main), latency: FAIL: output is all zeros; NRMSE 1.0 of limit 1e-5;
    where: inferena explain unet-mu-main-latency
[6] Mu (main), training: CRASH: killed by SIGSEGV

Verdict: 5 of 9 cells PASS, 1 CLOSE, 1 FAIL, 1 CRASH, 1 TIMEOUT; worst NRMSE 1
    of limit 1e-5 on output (Mu (main), latency); golden loss 0.1235
Step: 1 image in one inference step
Threads: 2
Flags: resumed (Alpha inference); few (Alpha training)
Not installed: 1 more engine: inferena doctor

Platform: Acme One @ 2.10GHz, 8192 MiB, Acme Linux 1 (Linux 6.8 x86_64), Acme
    G1, driver 570.1, Python 3.11.9

*figure: best of its column; all of those whose 95 % intervals overlap with the
    best
≈: CLOSE: right, but at reduced precision
(figure): FAIL: the result is wrong, so the figure does not count
✗: it broke
—: unsupported
·: not part of this run
no ±: a single sample, as compile times are: the next one may lie anywhere, so
    it is never best

Versions, hashes, footprints, commands: --inferena-report=md, or html:FILE
"""

HOSTILE = "a|b <i>`x`</i>\n# **bold** [l](http://e.org) ~~s~~ _u_ &lt; \x1b[31mred\u202e \\"


def test_markdown_snapshot() -> None:
    """Every outcome shows as the legend says."""
    assert MARKDOWN == render(sample_results(), "md")


def test_terminal_snapshot() -> None:
    """The same results on a terminal of 80 columns: the figures, what to make of them, and where the rest is."""
    assert TERMINAL == render(sample_results(), "terminal")


def test_a_plain_result_needs_no_legend() -> None:
    """The terminal explains the marks that it shows, and no others."""
    text = render(
        make_results([make_record(**timed(0.1, 0.01)), make_record(framework="mu", **timed(0.5, 0.01))]), "terminal"
    )

    assert ["*figure", "·"] == re.findall(
        r"(?m)^(\S+|no ±|\(figure\)): (?=best|≈|CLOSE|FAIL|it broke|unsup|not part|a single|the engine)", text
    )


def _hostile() -> Results:
    titles = {"models": {"unet": HOSTILE}, "frameworks": {"alpha": HOSTILE}}
    record = make_record(
        flags=[HOSTILE], ran=HOSTILE, versions={HOSTILE: HOSTILE}, weights=HOSTILE, **broken("error", HOSTILE)
    )
    return make_results([record, make_record("latency", flags=["few"])], titles=titles, command=HOSTILE, commit=HOSTILE)


def test_hostile_text_stays_in_its_cell() -> None:
    """Foreign text cannot break a Markdown table, start a heading, or become HTML, code or a link."""
    text = render(_hostile(), "md")
    rows = [line for line in text.splitlines() if line.startswith("|")]

    assert {8} == {len(re.findall(r"(?<!\\)\|", row)) for row in rows}
    assert not re.search(r"(?<!\\)[`\[](?!\d+\]|n\])", text)
    assert not re.search(r"<|\x1b|\u202e|(?m:^# \*)", text)
    assert ["# ", "## ", "## ", "## "] == re.findall(r"(?m)^#+ ", text)


@pytest.mark.parametrize("name", FORMATS)
def test_hostile_text_is_harmless_everywhere(name: str) -> None:
    """No format emits control characters, and lone surrogates do not keep a file from being written."""
    log = make_record(reason="\ud800 \x07", outcome="error", log="\udcff")
    text = render(make_results([log]), name)

    assert name == "csv" or "\x07" not in text
    assert text.encode("utf-8", "backslashreplace")


@pytest.mark.parametrize("title", ["A" * 30, "Long Framework Name", "word " * 12, "Mu"])
def test_terminal_fits_80_columns_and_loses_nothing(title: str) -> None:
    """Long names wrap, and where that is no help the table becomes a list with every figure."""
    results = sample_results()
    results.run.titles.frameworks["mu"] = title
    text = render(results, "terminal")

    assert max(map(len, text.splitlines())) <= 80
    for row in (row for table in tables(results) for row in table.rows):
        for shown in row.texts:
            assert shown.text.replace(" %", "%").replace("≈ ", "≈") in text
    assert title.split(maxsplit=1)[0][:10] in text


def test_colours_change_nothing_else() -> None:
    """On a terminal the best are green, what is wrong is red, CLOSE is yellow; without the codes the text is the same."""
    close = make_record("latency", "zeta", outcome="close", reason="bf16", size="tiny")
    results = make_results([*sample_results().records, close])
    dressed = terminal.render(results, 80, dress=True)

    assert {"1;32", "31", "33", "0"} == {*re.findall(r"\x1b\[([\d;]+)m", dressed)}
    assert terminal.render(results, 80) == re.sub(r"\x1b\[[\d;]+m", "", dressed)


def test_platforms_that_differ_show_on_the_terminal() -> None:
    """A table over several devices says which row ran where."""
    results = make_results([make_record(), make_record(device="cuda")])

    assert "Acme G1" in terminal.render(results, 200).split("Verdict")[0]


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_measured_is_a_report_too(name: str) -> None:
    """A run without records gives a report that says so or has none."""
    text = render(make_results([]), name)

    assert text.endswith("\n")
    assert name in ("csv", "json") or "No cell was recorded." in text


def test_warnings_of_reading_are_shown() -> None:
    """A torn journal is mentioned where people look."""
    results = Results(sample_results().run, (), ("x.jsonl: record 3, the last, is torn",))

    assert all("is torn" in render(results, name) for name in ("md", "terminal"))


def test_csv_has_a_row_per_record() -> None:
    """CSV gives key, figures in seconds, verdict and versions; null is empty."""
    hostile = make_record(reason='a,"b"\nc', flags=["few", "noisy"], versions={"x": "1", "y": "2"})
    first, second = csv.DictReader(
        render(make_results([hostile, make_record("latency", **broken("oom", "x"))]), "csv").splitlines(keepends=True)
    )

    assert ('a,"b"\nc', "few noisy", "x 1; y 2") == (first["reason"], first["flags"], first["versions"])
    assert ("0.232", "0.23", "0.234", "10") == tuple(
        first[k] for k in ("median", "interval_low", "interval_high", "samples")
    )
    assert ("2.1e-07", "acme-one-2c", "") == (first["verdict_nrmse"], first["platform"], first["batch"])
    assert ("oom", "", "0", "") == tuple(second[k] for k in ("outcome", "median", "samples", "verdict_nrmse"))


def test_json_is_the_documented_document() -> None:
    """JSON holds schema, run and records, one record a line."""
    text = render(sample_results(), "json")
    document = json.loads(text)

    assert ["schema", "run", "records"] == list(document)
    assert len(document["records"]) == sum(line.startswith('{"model"') for line in text.splitlines())


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("md:report.md", ReportTarget("md", Path("report.md"))),
        ("json", ReportTarget("json", None)),
        ("csv:C:/x.csv", ReportTarget("csv", Path("C:/x.csv"))),
    ],
)
def test_options_are_parsed(option: str, expected: ReportTarget) -> None:
    """A report is FORMAT or FORMAT:FILE, split at the first colon."""
    assert expected == parse_report_option(option)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            "jsn:x",
            "unknown report format 'jsn'; known are coverage, csv, html, json, md, terminal; did you mean json:x?",
        ),
        (
            "markdown:x",
            "unknown report format 'markdown'; known are coverage, csv, html, json, md, terminal; did you mean md:x?",
        ),
        (
            "out/report.md",
            "unknown report format 'out/report.md'; known are coverage, csv, html, json, md, terminal; did you mean md:out/report.md?",
        ),
        ("q", "unknown report format 'q'; known are coverage, csv, html, json, md, terminal"),
        ("md:", "report 'md:' names no file; write md:FILE, or md for standard output"),
    ],
)
def test_wrong_options_are_one_clear_error(option: str, message: str) -> None:
    """An unknown format lists the known ones and suggests the nearest."""
    with pytest.raises(ReportError) as caught:
        parse_report_option(option)

    assert message == str(caught.value)


def test_reports_are_written_whole_where_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Files appear with their folders and without leftovers; no file means standard output."""
    target = tmp_path / "new" / "report.md"
    write(sample_results(), [ReportTarget("md", target), ReportTarget("terminal", None)])

    assert MARKDOWN == target.read_text(encoding="utf-8")
    assert TERMINAL == capsys.readouterr().out
    assert [target] == list(target.parent.iterdir())


def test_one_bad_target_does_not_cost_the_others(tmp_path: Path) -> None:
    """A file that cannot be written is named after all others were."""
    (tmp_path / "file").write_text("")
    targets = [ReportTarget("md", tmp_path / "file" / "x.md"), ReportTarget("csv", tmp_path / "x.csv")]
    with pytest.raises(ReportError, match=r"md report to .*file/x\.md cannot be written: "):
        write(sample_results(), targets)

    assert (tmp_path / "x.csv").exists()


def test_a_narrow_encoding_does_not_stop_the_report(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Standard output that knows ASCII only gets escapes, not an exception."""
    with (tmp_path / "out").open("w", encoding="ascii") as out:
        monkeypatch.setattr(sys, "stdout", out)
        write(sample_results(), [ReportTarget("terminal", None)])

    assert r"232 \xb10.9%" in (tmp_path / "out").read_text()
