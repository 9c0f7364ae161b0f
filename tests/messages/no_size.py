"""A case that takes no size."""

import torch
from torch import nn

from pytest_inferena import Case

TITLE = "no_size"
UNIT = "sample"
ITEMS = 2
PARAMETERS = 20


class Net(nn.Module):
    """A case that takes no size."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        return self.linear(x)


X = torch.linspace(-1, 1, 8).reshape(2, 4)


def case():
    """Its case."""
    return None
