"""Tests of the calibration of seeded weights: every layer near unit size, whatever the architecture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from pytest_inferena.prepare.calibrate import sizes
from pytest_inferena.prepare.weights import seed_weights

if TYPE_CHECKING:
    from collections.abc import Mapping


def noise(*shape: int, name: str = "input") -> dict[str, Tensor]:
    """An input, by name."""
    return {name: torch.randn(shape, generator=torch.Generator().manual_seed(0))}


class Squeeze(nn.Module):
    """Squeeze and excitation with batch norm on images of one pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        """(1, 3, H, W)."""
        y = self.conv(x)
        return y * torch.relu(self.norm(self.gate(y.mean((2, 3), keepdim=True))))


class Single(nn.Module):
    """A layer that insists on float32, and one behind it whose input is large."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 8)."""
        return self.linear((x * 100).float() + torch.zeros(8, dtype=torch.float32))


DEEP = nn.Sequential(*[nn.Sequential(nn.Linear(16, 16), nn.SiLU()) for _ in range(40)])
LARGE = {"input": torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 255}
NETS: dict[str, tuple[nn.Module, Mapping[str, Tensor]]] = {
    "one value a channel": (nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2)), noise(1, 4)),
    "squeeze": (Squeeze(), noise(1, 3, 6, 6, name="x")),
    "forty layers": (DEEP, noise(4, 16)),
    "transposed": (nn.Sequential(nn.ConvTranspose2d(64, 4, 8, 4), nn.Conv2d(4, 4, 1)), noise(1, 64, 4, 4)),
    "pixels to 255": (nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3)), LARGE),
    "pixels to 255, batch norm": (nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3)), LARGE),
    "float32 alone": (Single(), noise(2, 8, name="x")),
    "begins with ReLU": (nn.Sequential(nn.ReLU(), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), noise(2, 3, 8, 8)),
}


@pytest.mark.parametrize("name", NETS)
def test_layers_are_near_unit_size(name: str) -> None:
    """None vanishes nor explodes, and all is finite."""
    module, inputs = NETS[name]

    seed_weights(module, inputs=inputs)

    assert {} == {layer: size for layer, size in sizes(module, inputs).items() if not 1 / 4 <= size <= 4}
    assert all(bool(value.isfinite().all()) for value in module.state_dict().values())


def test_what_fits_stays_as_it_is() -> None:
    """A net whose layers are near unit size has the weights that it has without inputs."""
    states = []
    for inputs in (None, noise(4, 64)):
        net = nn.Sequential(nn.Linear(64, 64), nn.LayerNorm(64), nn.Linear(64, 8))
        seed_weights(net, inputs=inputs)
        states.append(net.state_dict())

    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_layer_is_scaled_by_a_power_of_two() -> None:
    """So that the same number results on every machine."""
    states = []
    for inputs in (None, {"input": noise(4, 64)["input"] * 100}):
        net = nn.Sequential(nn.Linear(64, 8))
        seed_weights(net, inputs=inputs)
        states.append(net[0].weight)

    assert torch.equal(states[0] / 128, states[1])
