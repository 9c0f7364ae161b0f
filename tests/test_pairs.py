"""Tests of complex numbers as pairs: no engine sees one, and what cannot be written with pairs is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from tests.complex_cases import COMPLEX, IMAGE
from tests.programs import captured
from tests.test_beyond import Net
from torch import Tensor, nn

from pytest_inferena.prepare.real import hold_pairs
from pytest_inferena.program.graph import NotExportable
from pytest_inferena.program.names import parameters_of
from pytest_inferena.worker.aten import to_module

if TYPE_CHECKING:
    from collections.abc import Callable


class Filter(nn.Module):
    """Frequencies times complex parameters, as neural operators have them."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.randn(3, 5, dtype=torch.cfloat))
        self.inner = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        """Real to real."""
        return self.inner(torch.fft.irfft(torch.fft.rfft(x) * self.first[:, None]))


def test_no_engine_sees_complex_numbers() -> None:
    """Every tensor of a Program is of real numbers."""
    for name in ("rotary", "fourier_layer", "istft"):
        entry = captured(Net(COMPLEX[name]), {"x": IMAGE})
        specs = [spec for node in entry.nodes for spec in node.outputs] + list(entry.constants)

        assert [] == [spec for spec in specs if "complex" in spec.dtype]


def test_a_number_that_is_real_is_not_computed_with_an_imaginary_part() -> None:
    """A scale costs a product for each part, and nothing is added."""
    entry = captured(Net(lambda x: torch.view_as_real(torch.complex(x, -x) * x)), {"x": IMAGE})

    assert ["cat", "mul", "mul", "mul", "neg", "reshape", "reshape"] == sorted(node.operator for node in entry.nodes)


def test_complex_parameters() -> None:
    """They are held as pairs under their own names, and their gradients are those of the complex ones."""
    torch.manual_seed(0)
    module = Filter()
    loss = module(IMAGE).square().sum()
    (expected,) = torch.autograd.grad(loss, [module.first])
    right = module(IMAGE)
    hold_pairs(module)
    entry = captured(module, {"x": IMAGE}, trains=True)
    parameters = parameters_of(module)
    (result,) = to_module(entry, parameters)(IMAGE)
    (found,) = torch.autograd.grad(result.square().sum(), [parameters["first"]])

    assert {"first": (3, 5, 2), "inner.weight": (8, 8), "inner.bias": (8,)} == {
        name: tuple(parameter.shape) for name, parameter in parameters.items()
    }
    torch.testing.assert_close(result, right)
    torch.testing.assert_close(found, torch.view_as_real(expected), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda x: torch.fft.fft(x).cumprod(1).real, "aten.cumprod of complex numbers"),
        (lambda x: x.mT.as_strided((2, 2), (1, 3)), "call contiguous"),
    ],
    ids=["cumprod", "as_strided"],
)
def test_refused(function: Callable[[Tensor], Tensor], said: str) -> None:
    """The message has the line of the code, what stands in the way, and what to do."""
    with pytest.raises(NotExportable, match=rf"^tests/test_beyond.py:\d+ \(.*{said}"):
        captured(Net(function), {"x": IMAGE})
