"""Reports that follow what a file has: a page of several runs, and GitHub's summary of a step."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.records import sample_results
from tests.test_report import MARKDOWN

from pytest_inferena.report import ReportError, ReportTarget, parse_report_option, write


def test_plus_appends(tmp_path: Path) -> None:
    """What was there stays, an empty line between; a file that is missing is made."""
    page, option = tmp_path / "page.md", f"md+:{tmp_path / 'page.md'}"
    write(sample_results(), [parse_report_option(option)])
    write(sample_results(), [parse_report_option(option)])

    assert f"{MARKDOWN}\n{MARKDOWN}" == page.read_text(encoding="utf-8")


def test_a_summary_of_github_is_appended_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other commands of the step have written there; no other file is."""
    summary = tmp_path / "summary"
    summary.write_text("# Tests\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    write(sample_results(), [parse_report_option(f"md:{summary}")])

    assert f"# Tests\n\n{MARKDOWN}" == summary.read_text(encoding="utf-8")
    assert ReportTarget("md", Path("other.md")) == parse_report_option("md:other.md")


@pytest.mark.parametrize("option", ["json+:x.json", "html+:x.html", "csv+:x", "md+"])
def test_what_cannot_be_appended(option: str) -> None:
    """A document that is whole in itself, or no file at all."""
    with pytest.raises(ReportError, match=r"cannot be appended; md and terminal can: md\+:FILE"):
        parse_report_option(option)
