"""What lies beyond the closed set, on engines that have no more than that: all of it in one Program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from tests.beyond_cases import IMAGE, STEPS, WHOLE
from tests.complex_cases import COMPLEX
from tests.in_ci import long
from tests.outside import Exchanging
from tests.programs import captured, entry_of
from tests.test_tables import ADAPTERS, computed, differences
from torch import Tensor, nn

from pytest_inferena.engines.framework import Framework
from pytest_inferena.program.capture import capture, parameter_names
from pytest_inferena.program.joint import joint
from pytest_inferena.worker import Setup
from pytest_inferena.worker.loading import load_adapter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pytest_inferena.worker import Entry

ALL = WHOLE | {f"complex-{name}": function for name, function in COMPLEX.items()}
pytestmark = pytest.mark.filterwarnings("default")  # what an engine warns of is its own affair


class Every(nn.Module):
    """Functions of the input, each times a parameter of its own."""

    def __init__(self, functions: Mapping[str, Callable[[Tensor], Tensor]]) -> None:
        super().__init__()
        self.functions = functions
        self.weights = nn.ParameterDict({name: nn.Parameter(torch.ones(3, 8, 8)) for name in functions})

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """All results."""
        return tuple(function(x * self.weights[name]) for name, function in self.functions.items())


class Total(Every):
    """A number that depends on each element of every result."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """The mean of squares and of a ramp."""
        results = super().forward(x)
        ramps = [torch.linspace(-1, 1, result.numel()).reshape(result.shape) for result in results]
        means = [((result + ramp) * result).mean() for result, ramp in zip(results, ramps, strict=True)]
        return (torch.stack(means).sum(),)


@pytest.fixture(params=["jax", "onnxruntime"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Framework, Any]:
    """An engine's description and its adapter in this process."""
    framework = Framework.read(ADAPTERS / request.param)
    backend = framework.backends[0]
    if reason := framework.missing(backend):
        pytest.skip(reason)
    kind, exchange = load_adapter(framework.name, framework.adapter).Adapter, tmp_path / "exchange"
    exchange.mkdir()
    setup = Setup(backend.name, backend.device, 1, tmp_path, exchange if framework.exchange else None)
    return framework, Exchanging(kind, setup) if framework.exchange else kind(setup)


def _given(entry: Entry) -> Entry:
    entry._arrays["inputs"] = {"x": IMAGE.numpy()}
    return entry


@long
def test_results(engine: tuple[Framework, Any]) -> None:
    """They are PyTorch's."""
    module = Every(ALL | STEPS)
    entry = _given(captured(module, {"x": IMAGE}, *module.functions))
    expected = dict(zip(module.functions, module(IMAGE), strict=True))

    assert {} == differences(expected, computed(engine[1], entry, dict(module.named_parameters())), 1e-5)


@long
def test_gradients(engine: tuple[Framework, Any]) -> None:
    """They are PyTorch's: by the engine's autograd, or of the graph of forward and backward."""
    framework, adapter = engine
    module = Total(ALL)
    parameters, names = dict(module.named_parameters()), parameter_names(module)
    made = entry_of(capture(module, {"x": IMAGE}, ("loss",), names, trains=True), "training")
    if framework.training == "joint":
        made = entry_of(joint(made, parameters, {"x": IMAGE}), "joint")
    (loss,) = module(IMAGE)
    found = torch.autograd.grad(loss, list(parameters.values()))
    expected = {f"grad:{name}": value for name, value in zip(parameters, found, strict=True)}

    assert {} == differences({"loss": loss, **expected}, computed(adapter, _given(made), parameters), 1e-4)
