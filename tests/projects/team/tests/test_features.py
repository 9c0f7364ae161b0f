"""The features, without any engine."""

from __future__ import annotations

import pytest
from pricing import features


@pytest.mark.parametrize("model", ["loft", "studio"])
def test_features_lie_around_one(model: str, worker: str) -> None:
    """An ordinary test, whose names are nobody else's business."""
    del model, worker

    assert features(3, 100.0, 5) == [1, 1, 1]
