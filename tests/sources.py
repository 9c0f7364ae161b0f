"""What becomes of a source of models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_inferena.collect.model import Model
from pytest_inferena.collect.source import Source
from pytest_inferena.prepare.attempts import Attempts
from pytest_inferena.prepare.entries import entries
from pytest_inferena.prepare.sources import load_case

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_inferena import Case


def case_of(text: str, base: Path) -> tuple[Case, Model]:
    """The case, and the model as collection knows it."""
    source = Source.parse(text, base)
    return load_case(source, "full"), Model.of(source)


def trained(case: Case) -> list[str]:
    """The entries that can be captured."""
    attempts = Attempts()
    made = entries(case, attempts)
    assert {} == attempts.failed
    return sorted(made)
