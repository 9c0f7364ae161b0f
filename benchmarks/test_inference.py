"""One steady step of the whole model, without gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_inferena.session.celltest import CellTest

pytestmark = pytest.mark.inference


def test_inference(cell: CellTest) -> None:
    """Every output of a step that was timed is the model's."""
    result = cell.measure()

    assert result == cell.golden
    cell.record(result)
