"""A file that is not there."""

import torch
from torch import nn

from pytest_inferena import Case

TITLE = "missing_file"
UNIT = "sample"
ITEMS = 2
PARAMETERS = 20


class Net(nn.Module):
    """A file that is not there."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        return self.linear(x)


X = torch.linspace(-1, 1, 8).reshape(2, 4)


def case(size="full"):
    """Its case."""
    state = torch.load("weights.pt")
    module = Net()
    module.load_state_dict(state)
    return module
