"""Two outputs of one name."""

import torch
from torch import nn

from pytest_inferena import Case

TITLE = "same_name"
UNIT = "sample"
ITEMS = 2
PARAMETERS = 20


class Net(nn.Module):
    """Two outputs of one name."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        y = self.linear(x)
        return y, y + 1


X = torch.linspace(-1, 1, 8).reshape(2, 4)


def case(size="full"):
    """Its case."""
    return Case(
        module=Net(),
        inputs={"x": X},
        latency={"x": X[:1]},
        targets={},
        loss=lambda *ys: ys[0].mean(),
        outputs=("y", "y"),
    )
