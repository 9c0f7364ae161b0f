"""A module in place of a case."""

import torch
from torch import nn

from pytest_inferena import Case

TITLE = "module_alone"
UNIT = "sample"
ITEMS = 2
PARAMETERS = 20


class Net(nn.Module):
    """A module in place of a case."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        return self.linear(x)


X = torch.linspace(-1, 1, 8).reshape(2, 4)


def case(size="full"):
    """No case."""
    return Net()
