"""The fault matrix: each fault in one phase and language, all of them by `make faults`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from tests import chaos
from tests.chaos import Chaos, Fault
from tests.in_ci import long

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SPREAD = [
    Fault([*chaos.LANGUAGES][number % 2], chaos.phases(action)[number % len(chaos.phases(action))], action)
    for number, action in enumerate(chaos.OUTCOMES)
]


@pytest.fixture(scope="module")
def engines(cache: Path) -> Iterator[Chaos]:
    """The engines, and the tests' cache."""
    before = dict(os.environ)
    os.environ |= {"INFERENA_CACHE": str(cache), "INFERENA_LOCKS": str(cache)}
    try:
        with chaos.chaos() as made:
            yield made
    finally:
        os.environ.clear()
        os.environ |= before


@pytest.fixture(scope="module")
def usual(engines: Chaos) -> dict[str, float]:
    """Seconds that a cell takes, by language."""
    return {language: engines.usual(language) for language in chaos.LANGUAGES}


@long
@pytest.mark.parametrize("fault", SPREAD, ids="-".join)
def test_a_fault(engines: Chaos, usual: dict[str, float], fault: Fault) -> None:
    """The cell has its outcome in time, nothing of it is left, and the engine's next cell passes."""
    assert not chaos.wrong(fault, engines.run(fault), usual[fault.language])


def test_the_page_is_of_this_matrix() -> None:
    """docs/faults.md has all faults, and the outcomes that are expected; `make faults` writes it."""
    right = chaos.page({fault: chaos.OUTCOMES[fault.action] for fault in chaos.faults()})

    assert right == (chaos.ROOT / "docs" / "faults.md").read_text()
