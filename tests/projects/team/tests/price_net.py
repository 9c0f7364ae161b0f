"""The model as it is measured: its inputs, and its loss."""

from __future__ import annotations

import torch
from pricing.features import features
from pricing.net import PriceNet

from pytest_inferena import Case

TITLE = "Price net"
UNIT = "flat"
ITEMS = 64
PARAMETERS = 161


def case(size: str = "full") -> Case:
    """A block of flats; one floor of it is the tiny size."""
    floors = 16 if size == "full" else 1
    flats = torch.tensor([features(rooms, 25.0 * rooms, floor) for floor in range(floors) for rooms in (1, 2, 3, 4)])
    return Case(
        module=PriceNet(),
        inputs={"flats": flats},
        latency={"flats": flats[:1]},
        targets={"paid": flats.sum(1, keepdim=True)},
        loss=lambda price, paid: (price - paid).square().mean(),
        outputs=("price",),
    )
