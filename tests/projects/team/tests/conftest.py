"""What tests of this project share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_inferena import Inferena, Result


@pytest.fixture
def trained(inferena: Inferena) -> Result:
    """A training step of the model on ONNX Runtime."""
    return inferena.measure("price_net.py", framework="onnxruntime", metric="training", size="tiny")


@pytest.fixture
def worker() -> str:
    """The project's own fixture of this name: somebody who works."""
    return "Ada"
