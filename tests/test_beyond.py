"""Tests of what lies beyond the closed set: torch.export finds it, and the Program has it in operators of the set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from tests.beyond_cases import FUNCTIONS, IMAGE, MODULES, STEPS, WHOLE
from tests.complex_cases import COMPLEX
from tests.in_ci import long
from tests.programs import Loss, captured, entry_of, golden, run
from torch import Tensor, nn

from pytest_inferena.program.capture import capture, parameter_names
from pytest_inferena.program.joint import joint
from pytest_inferena.program.operators import OPERATORS

if TYPE_CHECKING:
    from collections.abc import Callable

NUMBERS = {f"complex-{name}": function for name, function in COMPLEX.items()}
DIFFERENTIABLE = FUNCTIONS | WHOLE | NUMBERS
EXTREME = torch.tensor([0.0, 1e-30, -1e-30, 1e-3, -1e-3, 20.0, -20.0])


class Net(nn.Module):
    """A function with something to differentiate by."""

    def __init__(self, function: Callable[[Tensor], Tensor], shape: tuple[int, ...] = (3, 8, 8)) -> None:
        super().__init__()
        self.function, self.weight = function, nn.Parameter(torch.ones(shape))

    def forward(self, x: Tensor) -> Tensor:
        """Of the input times one, whose gradient is zero for no function that has one."""
        return self.function(x * self.weight)


class First(nn.Module):
    """The first thing that a module returns."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        """Its output alone."""
        result = self.module(x)
        found: Tensor = result[0] if isinstance(result, tuple) else result
        return found


def gradients(module: nn.Module, output: Tensor) -> list[Tensor]:
    """By every parameter, of a number that depends on each element of an output."""
    ramp = torch.linspace(-1, 1.5, output.numel()).reshape(output.shape)
    return list(torch.autograd.grad((output * ramp).sum(), [*module.parameters()]))


def differs(module: nn.Module, x: Tensor, *, differentiable: bool = True) -> list[str]:
    """What is not the same as in PyTorch: operators that are not of the set, the output, its gradients."""
    entry = captured(module.eval(), {"x": x}, trains=differentiable)
    expected, actual = module(x), run(entry, module, {"x": x})["output"]
    found = sorted(entry.operators() - OPERATORS.keys())
    pairs = [(expected, actual)]
    if differentiable:
        pairs += zip(gradients(module, expected), gradients(module, actual), strict=True)
    for index, (right, result) in enumerate(pairs):
        assert (right.shape, right.dtype) == (result.shape, result.dtype)
        off = (right.detach().double() - result.detach().double()).abs().max()
        limit = 1e-4 if index else 1e-5  # the gate's floors
        if not float(off) <= limit * float(right.detach().double().abs().max().clamp(min=1e-3)):
            found.append(f"{'gradient' if index else 'output'} off by {float(off):.1e}")
    return found


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_functions(name: str) -> None:
    """Results and gradients are PyTorch's."""
    assert [] == differs(Net(DIFFERENTIABLE[name]), IMAGE)


@pytest.mark.parametrize("name", STEPS)
def test_steps(name: str) -> None:
    """Results are PyTorch's, exactly."""
    assert [] == differs(Net(STEPS[name]), IMAGE, differentiable=False)


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.filterwarnings("default")  # torch's own, of how an LSTM's weights lie
def test_modules(name: str) -> None:
    """Results and the gradients of all parameters are PyTorch's."""
    torch.manual_seed(0)
    make, x = MODULES[name]

    assert [] == differs(First(make()), x)


@long
@pytest.mark.parametrize("name", [*MODULES, *WHOLE, *NUMBERS])
@pytest.mark.filterwarnings("default")
def test_joint(name: str) -> None:
    """The graph of forward and backward is of the closed set too, and its gradients are autograd's."""
    torch.manual_seed(0)
    make, x = MODULES.get(name, (lambda: Net(DIFFERENTIABLE[name]), IMAGE))
    module = First(make()).eval()
    loss, names = Loss(module), parameter_names(module)
    training = entry_of(capture(loss, {"x": x}, ("loss",), names, trains=True), "training")
    parameters = dict(module.named_parameters())
    entry = entry_of(joint(training, parameters, {"x": x}), "joint")
    expected, actual = golden(module, {"x": x}), run(entry, module, {"x": x})
    limit = 1e-4 * max(float(value.abs().max()) for value in expected.values())
    off = {key: float((right - actual[key]).detach().abs().max()) for key, right in expected.items() if key in actual}

    assert set() == entry.operators() - OPERATORS.keys()
    assert expected.keys() == actual.keys()
    assert {} == {key: far for key, far in off.items() if not far <= limit}


@pytest.mark.parametrize("name", ["asinh", "atan", "expm1", "sinh", "tan"])
def test_functions_at_zero_and_far_from_it(name: str) -> None:
    """They are themselves near zero, where a difference of large numbers would lose them, and finite far away."""
    function = getattr(torch, name)
    x = EXTREME.clone().requires_grad_()
    entry = captured(Net(function, (7,)), {"x": EXTREME}, trains=True)
    expected, actual = function(x), run(entry, Net(function, (7,)), {"x": x})["output"]
    slopes = [torch.autograd.grad(result.sum(), x)[0] for result in (expected, actual)]

    torch.testing.assert_close(actual, expected, rtol=3e-6, atol=1e-36)
    torch.testing.assert_close(slopes[1], slopes[0], rtol=1e-5, atol=1e-8)
