"""From the Program to the first complete result, in a fresh worker with empty caches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_inferena.session.celltest import CellTest

pytestmark = pytest.mark.compile


def test_compile(cell: CellTest) -> None:
    """The engine makes the model ready, and its first result is the model's."""
    result = cell.measure()

    assert result == cell.golden
    cell.record(result)
