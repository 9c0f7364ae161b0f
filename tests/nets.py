"""Modules that get weights in tests: a small one of our own, and SmolLM2 at its tiny size."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from pytest_inferena.prepare.case import Case
from pytest_inferena.prepare.sources import load_case

MODELS = Path(__file__).parents[1] / "benchmarks" / "models"


class Net(nn.Module):
    """Two matrices, one of them tied, and a batch norm before a ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 8)
        self.norm = nn.BatchNorm1d(8)
        self.relu = nn.ReLU()
        self.head = nn.Linear(8, 10, bias=False)
        self.head.weight = self.embedding.weight
        self.register_buffer("position", torch.zeros(1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 8) to (B, 10)."""
        return self.head(self.relu(self.norm(x)))


def small_case() -> Case:
    """Net, which has no published weights, with a batch of 50."""
    x = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    return Case(Net(), {"x": x}, {"x": x[:1]}, {}, lambda output: output.mean())


def smollm2() -> Case:
    """A model with published weights, at the size that tests can afford."""
    return load_case(MODELS / "smollm2.py", "tiny")
