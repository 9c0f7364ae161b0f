"""Loss, forward, and backward to materialised gradients of every parameter; no optimiser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_inferena.session.celltest import CellTest

pytestmark = pytest.mark.training


def test_training(cell: CellTest) -> None:
    """The loss and every gradient of a step that was timed are the model's."""
    result = cell.measure()

    assert result == cell.golden
    cell.record(result)
