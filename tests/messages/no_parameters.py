"""Nothing could be trained."""

import torch
from torch import nn

from pytest_inferena import Case

TITLE = "no_parameters"
UNIT = "sample"
ITEMS = 2
PARAMETERS = 20


class Net(nn.Module):
    """Nothing could be trained."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        del self.linear

    def forward(self, x):
        return x * 2


X = torch.linspace(-1, 1, 8).reshape(2, 4)


def case(size="full"):
    """Its case."""
    return Case(module=Net(), inputs={"x": X}, latency={"x": X[:1]}, targets={}, loss=lambda y: y.mean())
