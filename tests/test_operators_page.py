"""Tests of docs/operators.md: it says what the engines say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from pytest_inferena.program.expand import EXPANSIONS
from pytest_inferena.program.operators import OPERATORS

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "operators.md").read_text(encoding="utf-8")


def test_every_engine_that_is_installed_has_its_row() -> None:
    """With as many operators as it says that it has, and those that it lacks; `make operators` writes the page."""
    spec = importlib.util.spec_from_file_location("operators_page", DOCS / "operators.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    rows = [module.row(*engine) for engine in module.asked().values()]

    assert [] == [row for row in rows if row not in PAGE.splitlines()]


def test_the_page_counts_the_tiers() -> None:
    """As many operators as there are, in two tiers."""
    first = len(OPERATORS.keys() - EXPANSIONS.keys())

    assert f"in {len(OPERATORS)} operators" in PAGE
    assert f"{first} of the first tier" in PAGE
    assert f"{len(EXPANSIONS)} of the second" in PAGE
