"""Integers where a layer takes floats."""

import torch
from torch import nn

from pytest_inferena import Case

TITLE = "dtype"
UNIT = "sample"
ITEMS = 2
PARAMETERS = 20


class Net(nn.Module):
    """Integers where a layer takes floats."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        return self.linear(x)


X = torch.linspace(-1, 1, 8).reshape(2, 4)


def case(size="full"):
    """Its case."""
    return Case(module=Net(), inputs={"x": X.long()}, latency={"x": X.long()}, targets={}, loss=lambda y: y.mean())
