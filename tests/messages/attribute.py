"""A tensor is kept for the next call."""

import torch
from torch import nn

from pytest_inferena import Case

TITLE = "attribute"
UNIT = "sample"
ITEMS = 2
PARAMETERS = 20


class Net(nn.Module):
    """A tensor is kept for the next call."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.last = None

    def forward(self, x):
        y = self.linear(x)
        self.last = y if self.last is None else y + self.last
        return self.last


X = torch.linspace(-1, 1, 8).reshape(2, 4)


def case(size="full"):
    """Its case."""
    return Case(module=Net(), inputs={"x": X}, latency={"x": X[:1]}, targets={}, loss=lambda y: y.mean())
