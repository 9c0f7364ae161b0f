"""Three linear layers with tanh between them: small, smooth, and easy to differentiate by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from pytest_inferena import Case

if TYPE_CHECKING:
    from torch import Tensor

TITLE = "Tiny MLP"
UNIT = "row"
ITEMS = 4
PARAMETERS = 484
SEEDED = True


class MLP(nn.Module):
    """8 numbers to 4."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 16)
        self.second = nn.Linear(16, 16)
        self.third = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Rows (B, 8) to rows (B, 4)."""
        return self.third(torch.tanh(self.second(torch.tanh(self.first(x)))))


def case(size: str = "full", batch: int = 4, seq: int | None = None) -> Case:
    """Four rows, or more; every size and length is the same."""
    del size, seq
    x = torch.linspace(-1, 1, 8 * batch).sin().reshape(batch, 8)  # (B, 8)
    return Case(
        module=MLP(),
        inputs={"x": x},
        latency={"x": x[:1].clone()},  # (1, 8)
        targets={"y": torch.linspace(0, 1, 4 * batch).reshape(batch, 4)},  # (B, 4)
        loss=loss,
    )


def loss(output: Tensor, y: Tensor) -> Tensor:
    """Mean squared error of rows (B, 4)."""
    return (output - y).square().mean()
