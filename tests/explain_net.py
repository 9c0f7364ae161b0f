"""A small network with a line for each operator that a test spoils."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from pytest_inferena import Case

if TYPE_CHECKING:
    from torch import Tensor

TITLE = "Net to explain"
UNIT = "row"
ITEMS = 4
PARAMETERS = 516
SEEDED = True


class Net(nn.Module):
    """8 numbers to 4."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 16)
        self.norm = nn.LayerNorm(16)
        self.second = nn.Linear(16, 16)
        self.third = nn.Linear(14, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Rows (B, 8) to rows (B, 4)."""
        hidden = nn.functional.gelu(self.first(x))
        hidden = self.norm(hidden)
        hidden = torch.tanh(self.second(hidden)) - hidden
        hidden = hidden[:, 1:15]
        return self.third(hidden)


def case(size: str = "full") -> Case:
    """Four rows; every size is the same."""
    del size
    x = torch.linspace(-1, 1, 32).sin().reshape(4, 8)  # (B, 8)
    return Case(
        module=Net(), inputs={"x": x}, latency={"x": x[:1].clone()},
        targets={"y": torch.linspace(0, 1, 16).reshape(4, 4)}, loss=loss,
    )  # fmt: skip


def loss(output: Tensor, y: Tensor) -> Tensor:
    """Mean squared error of rows (B, 4)."""
    return nn.functional.mse_loss(output, y)
