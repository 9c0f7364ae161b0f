"""The model."""

from __future__ import annotations

from torch import Tensor, nn

from pricing.features import NAMES


class PriceNet(nn.Module):  # type: ignore[misc] # torch is not followed
    """Two layers, from features (B, 3) to a price (B, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.price = nn.Linear(len(NAMES), 32), nn.Linear(32, 1)

    def forward(self, flats: Tensor) -> Tensor:
        """Prices (B, 1) of flats (B, 3)."""
        return self.price(self.hidden(flats).relu())
