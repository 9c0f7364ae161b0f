"""A buffer counts the calls."""

import torch
from torch import nn

from pytest_inferena import Case

TITLE = "counter"
UNIT = "sample"
ITEMS = 2
PARAMETERS = 20


class Net(nn.Module):
    """A buffer counts the calls."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls.add_(1)
        return self.linear(x) * self.calls


X = torch.linspace(-1, 1, 8).reshape(2, 4)


def case(size="full"):
    """Its case."""
    return Case(module=Net(), inputs={"x": X}, latency={"x": X[:1]}, targets={}, loss=lambda y: y.mean())
