"""A case without inputs."""

from torch import nn

from pytest_inferena import Case

TITLE = "forgotten"
UNIT = "sample"
ITEMS = 2
PARAMETERS = 20


class Net(nn.Module):
    """A case without inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        return self.linear(x)


def case(size="full"):
    """Its case."""
    return Case(module=Net())
