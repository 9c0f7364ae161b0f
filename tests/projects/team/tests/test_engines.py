"""The model on engines: right, and fast enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_inferena import Inferena, Result

pytestmark = pytest.mark.inferena(model="price_net.py", size="tiny")


@pytest.mark.parametrize("framework", ["onnxruntime", "pytorch-eager"])
@pytest.mark.parametrize("metric", ["inference", "latency"])
def test_right(inferena: Inferena, framework: str, metric: str) -> None:
    """Every engine that we ship computes the model's prices."""
    result = inferena.measure(framework=framework, metric=metric)

    assert result.right
    assert result.nrmse <= result.limit
    assert result.outputs["price"].shape == ((4, 1) if metric == "inference" else (1, 1))


@pytest.mark.benchmark(group="engines of the shop", max_time=0.1)
def test_not_slower_than_pytorch(inferena: Inferena) -> None:
    """ONNX Runtime is worth its place: not 10 % slower than PyTorch."""
    ours, torch = inferena.compare("onnxruntime", "pytorch-eager")

    assert not ours.slower_than(torch, by=0.1)


@pytest.mark.training
def test_gradients(trained: Result) -> None:
    """A training step gives every parameter its gradient."""
    assert trained.right
    assert trained.gradients["price.weight"].shape == (1, 32)
    assert trained.loss > 0
    assert "onnxruntime" in trained.versions
