"""Tests of the data that a page gets: rows, figures, history, and foreign text that cannot become code."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.in_ci import IN_CI
from tests.records import RUN, broken, make_record, make_results, make_run, sample_results, timed

from pytest_inferena.commands import cli
from pytest_inferena.report import html, models, render
from pytest_inferena.results import Results

if TYPE_CHECKING:
    from pathlib import Path

LATER = make_run(id="later", date="2026-11-22T12:00:00Z")
OTHER = make_run(id="other", platform={**RUN["platform"], "id": "other", "cpu": "Other One"})


def rows(*runs: Results) -> list[dict[str, Any]]:
    """Rows of the first tab."""
    found: list[dict[str, Any]] = html.document(runs)["tabs"][0]["rows"]
    return found


def embedded(page: str) -> Any:
    """What the page's program finds, and no more than that: the script ends where it should."""
    (data,) = re.findall(r"window\.RESULTS = (.*?);</script>", page, re.DOTALL)
    return json.loads(data)


def test_a_page_holds_the_document() -> None:
    """The template is filled once, with everything, and names no address to fetch from."""
    page = render(sample_results(), "html")

    assert json.loads(json.dumps(html.document([sample_results()]))) == embedded(page)
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", page)


def test_a_figure_is_in_its_columns_unit() -> None:
    """Milliseconds for a step, with both ends of the interval; seconds for compiling."""
    document = html.document([make_results([make_record(), make_record("compile", **timed(2.5, 0.5))])])
    (row,) = document["tabs"][0]["rows"]

    assert [("compile", "s"), ("inference", "ms")] == [tuple(c.values()) for c in document["tabs"][0]["columns"]]
    assert [232.0, 230.0, 234.0] == pytest.approx([row["cells"]["inference"][key] for key in ("value", "low", "high")])
    assert 2.5 == row["cells"]["compile"]["value"]


def test_days_of_a_platform_are_one_row() -> None:
    """The table has the latest day's figure; those before it are its history, oldest first."""
    (row,) = rows(Results(LATER, (make_record(**timed(0.2, 0.01)),)), make_results([make_record()]))
    cell = row["cells"]["inference"]

    assert 200.0 == pytest.approx(cell["value"])
    assert 1 == cell["run"]
    assert [232.0, 200.0] == pytest.approx([value for _, value, _, _ in cell["history"]])


def test_a_failure_has_no_history() -> None:
    """Only figures that count are drawn over time."""
    (row,) = rows(make_results([make_record()]), Results(LATER, (make_record(**broken("crash", "SIGSEGV")),)))
    cell = row["cells"]["inference"]

    assert (None, "✗", "CRASH: SIGSEGV") == (cell["value"], cell["text"], cell["note"])
    assert [232.0] == pytest.approx([value for _, value, _, _ in cell["history"]])


def test_runs_do_not_compete() -> None:
    """What only an earlier run has stands beside the later one as another platform, and is no rival of it."""
    slow = timed(0.8, 0.01)
    early = make_results([make_record(), make_record("latency"), make_record(framework="jax", **slow)])
    later = Results(LATER, (make_record(**timed(0.4, 0.01)), make_record(framework="onnxruntime", **slow)))
    found = rows(early, later)

    assert [("21", {"latency"}), ("21", {"inference"}), ("22", {"inference"}), ("22", {"inference"})] == [
        (row["platform"][-2:], row["cells"].keys()) for row in found
    ]
    assert {2} == html.bests(found, "inference")  # alone, or against another day, it would beat nothing


def test_platforms_stand_side_by_side() -> None:
    """Each machine has rows of its own; machines of one name are told apart."""
    twin = make_run(id="twin", platform={**RUN["platform"], "id": "twin"})
    runs = [make_results([make_record()]), Results(OTHER, (make_record(),)), Results(twin, (make_record(),))]

    assert ["Acme One @ 2.10GHz (acme-one-2c)", "Acme One @ 2.10GHz (twin)", "Other One"] == [
        row["platform"] for row in rows(*runs)
    ]


def test_hosts_whose_processor_has_one_name() -> None:
    """Where caches, flags or the like tell them apart they are two machines, and no line joins their figures."""
    host = make_run(
        id="host", date="2026-11-22T12:00:00Z", platform={**RUN["platform"], "identity": "fedcba9876543210"}
    )
    found = rows(make_results([make_record()]), Results(host, (make_record(**timed(0.1, 0.001)),)))

    assert ["Acme One @ 2.10GHz (012345)", "Acme One @ 2.10GHz (fedcba)"] == [row["platform"] for row in found]
    assert [1, 1] == [len(row["cells"]["inference"]["history"]) for row in found]


def test_older_files_do_not_say_which_host_it_was() -> None:
    """The table has the latest day, and no line joins days that may be two hosts'."""
    unknown = {**RUN["platform"], "identity": ""}
    runs = [make_run(platform=unknown), make_run(id="later", date="2026-11-22T12:00:00Z", platform=unknown)]
    (row,) = rows(*(Results(run, (make_record(),)) for run in runs))

    assert 1 == len(row["cells"]["inference"]["history"])


def test_other_work_has_a_tab_of_its_own() -> None:
    """Figures of another size or of other weights never share a table."""
    records = [make_record(), make_record(size="tiny"), make_record(model="bert")]

    assert ["Small U-Net", "Small U-Net, tiny", "BERT"] == [
        tab["title"] for tab in html.document([make_results(records)])["tabs"]
    ]


@settings(max_examples=200, deadline=None)
@given(
    st.text(alphabet=st.characters(codec=None))
    | st.sampled_from(["</script><script>alert(1)</script>", "<!--", "\u2028"])
)
def test_foreign_text_stays_text(text: str) -> None:
    """Whatever a framework calls itself or says, the page's data parses, shows printable lines, and ends its script."""
    record = make_record(framework=text, reason=text, outcome="fail", log=text, ran=text, versions={text: text})
    page = render(Results(make_run(titles={**RUN["titles"], "frameworks": {text: text}}), (record,)), "html")
    (row,) = embedded(page)["tabs"][0]["rows"]

    assert "<script>alert" not in page
    assert all(line.isprintable() for line in (row["engine"], row["cells"]["inference"]["note"]))


def test_long_text_is_cut() -> None:
    """10 MB of log do not make a page of 10 MB."""
    page = render(make_results([make_record(log="x" * 10_000_000, **broken("error", "y" * 10_000_000))]), "html")

    assert len(page) < 1_000_000


def test_report_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`inferena report` makes one page of any number of files, in a folder as index.html."""
    for name, run in (("one", make_run()), ("two", OTHER)):
        (tmp_path / f"{name}.json").write_text(render(Results(run, (make_record(),)), "json"))
    files = [str(tmp_path / f"{name}.json") for name in ("one", "two")]

    assert 0 == cli.main(["report", *files, "--html", str(tmp_path / "site")])
    assert str(tmp_path / "site" / "index.html") == capsys.readouterr().out.strip()
    assert 2 == len(embedded((tmp_path / "site" / "index.html").read_text(encoding="utf-8"))["runs"])


def test_a_markdown_page_for_each_model() -> None:
    """It has all platforms, the best of each in bold, and the reasons of what is not right as numbered notes."""
    wrong = make_record(framework="mu", outcome="fail", reason="off by | one")
    runs = [make_results([make_record(), make_record(framework="zeta", **timed(0.5, 0.01)), wrong]),
            Results(OTHER, (make_record(model="bert"), make_record(**broken("oom", "9 GiB"))))]  # fmt: skip
    pages = models.pages(runs)
    rows = [line for line in pages["small-u-net.md"].splitlines() if line.startswith("|")]

    assert ["bert.md", "small-u-net.md"] == sorted(pages)
    assert ["500 ±2.0 %", "**232 ±0.9 %**", "~~232 ±0.9 %~~ [1]", "✗ [2]"] == [
        row.split("|")[3].strip() for row in rows[2:]
    ]
    assert r"1. Mu: FAIL: off by \| one" in pages["small-u-net.md"]


def test_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each model has an SVG with its engines' names and a PNG; the same results give the same files."""
    file = tmp_path / "one.json"
    file.write_text(render(sample_results(), "json"))
    for folder in ("first", "again"):
        assert 0 == cli.main(["report", str(file), "--pictures", str(tmp_path / folder)])
    names = {path.name for path in (tmp_path / "first").iterdir()}
    text = (tmp_path / "first" / "small-u-net.svg").read_text(encoding="utf-8")

    assert {"small-u-net.svg", "small-u-net.png"} <= names
    assert "Alpha" in text
    assert str(tmp_path / "again" / "small-u-net.png") in capsys.readouterr().out
    assert all((tmp_path / "first" / name).read_bytes() == (tmp_path / "again" / name).read_bytes() for name in names)


def test_a_report_of_nothing_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without saying what to make there is one line that says what can be made."""
    (tmp_path / "one.json").write_text(render(sample_results(), "json"))

    assert 1 == cli.main(["report", str(tmp_path / "one.json")])
    assert "--html PATH, --md FOLDER" in capsys.readouterr().err


@pytest.mark.skipif(not IN_CI or shutil.which("npm") is None, reason="it fetches from npm: in CI only")
def test_the_page_is_what_its_sources_give(tmp_path: Path) -> None:
    """page.html and licenses.txt are what `npm run build` makes of what stands beside them."""
    page, made = html.TEMPLATE.parent, tmp_path / "page"
    shutil.copytree(page, made, ignore=shutil.ignore_patterns("node_modules", "page.html", "licenses.txt"))
    for command in (["npm", "install", "--no-package-lock", "--no-audit", "--no-fund"], ["npm", "run", "build"]):
        subprocess.run(command, cwd=made, check=True, stdout=subprocess.DEVNULL)

    for name in ("page.html", "licenses.txt"):
        assert (page / name).read_text(encoding="utf-8") == (made / name).read_text(encoding="utf-8")
