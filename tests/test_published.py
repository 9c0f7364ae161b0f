"""What reports/ publishes: every page is what its result file gives, and every result file is one that we read."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_inferena import results
from pytest_inferena.cell import Outcome
from pytest_inferena.report import html, models, render
from pytest_inferena.report.coverage import combined

ROOT = Path(__file__).parents[1]
REPORTS = ROOT / "reports"
FILES = sorted(REPORTS.glob("*.json"))
EXTERNAL = sorted(REPORTS.glob("external/*.json"))


def site() -> list[results.Results]:
    """Everything that the pages show, in the order of `make site`."""
    return [found for file in (*FILES, *EXTERNAL) for found in results.read_all(file)]


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
    silent = [r for r in records if r.outcome is not Outcome.PASS and not r.reason]
    bare = [r for r in records if r.outcome.right and not r.samples]

    assert ([], []) == (silent, bare)


def test_coverage_is_what_the_result_files_give() -> None:
    """docs/coverage.md is what `make site` writes."""
    found = combined([results.read(file) for file in FILES])

    assert render(found, "coverage") == (ROOT / "docs" / "coverage.md").read_text(encoding="utf-8")


def test_the_page_is_what_the_result_files_give() -> None:
    """So is reports/index.html."""
    assert html.render_all(site()) == (REPORTS / "index.html").read_text(encoding="utf-8")


def test_pages_of_models_are_what_the_result_files_give() -> None:
    """So are the Markdown pages of each model, beside a picture of each."""
    pages = models.pages(site())
    pictures = {path.stem for path in (REPORTS / "pictures").iterdir()}

    assert pages == {path.name: path.read_text(encoding="utf-8") for path in (REPORTS / "models").iterdir()}
    assert pictures == {Path(name).stem for name in pages}
