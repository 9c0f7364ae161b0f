"""What reports/ publishes: every page is what its result file gives, and every result file is one that we read."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_inferena import results
from pytest_inferena.report import render

REPORTS = Path(__file__).parents[1] / "reports"
FILES = sorted(REPORTS.glob("*.json"))


def test_something_is_published() -> None:
    """There is at least one machine's result."""
    assert FILES


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_pages_are_what_the_result_files_give(file: Path) -> None:
    """The Markdown page beside a result file can be made again from it, to the letter."""
    assert render(results.read(file), "md") == file.with_suffix(".md").read_text(encoding="utf-8")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_published_cells_are_right(file: Path) -> None:
    """No figure of a wrong result is published as one, and every cell without a figure has its reason."""
    records = results.read(file).records
    silent = [r for r in records if r["outcome"] != "pass" and not r["reason"]]
    bare = [r for r in records if r["outcome"] in {"pass", "close"} and not r["samples"]]

    assert ([], []) == (silent, bare)
