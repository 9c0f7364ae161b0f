"""An operator whose gradient PyTorch lacks."""

import torch
from torch import nn

from pytest_inferena import Case

TITLE = "no_gradient"
UNIT = "sample"
ITEMS = 2
PARAMETERS = 20


class Net(nn.Module):
    """An operator whose gradient PyTorch lacks."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        return torch.special.gammainc(self.linear(x).abs(), x.abs() + 1)


X = torch.linspace(-1, 1, 8).reshape(2, 4)


def case(size="full"):
    """Its case."""
    return Case(module=Net(), inputs={"x": X}, latency={"x": X[:1]}, targets={}, loss=lambda y: y.mean())
