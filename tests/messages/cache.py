"""A cache that every call adds to."""

import torch
from torch import nn

from pytest_inferena import Case

TITLE = "cache"
UNIT = "sample"
ITEMS = 2
PARAMETERS = 20


class Net(nn.Module):
    """A cache that every call adds to."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.register_buffer("keys", torch.zeros(3, 4))

    def forward(self, x):
        self.keys[1:] = self.keys[:-1].clone()
        self.keys[0] = self.linear(x)[0]
        return self.keys @ x.T


X = torch.linspace(-1, 1, 8).reshape(2, 4)


def case(size="full"):
    """Its case."""
    return Case(module=Net(), inputs={"x": X}, latency={"x": X[:1]}, targets={}, loss=lambda y: y.mean())
