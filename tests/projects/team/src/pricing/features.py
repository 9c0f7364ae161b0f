"""What the model sees of a flat."""

from __future__ import annotations

NAMES = ("rooms", "area", "floor")


def features(rooms: int, area: float, floor: int) -> list[float]:
    """Rooms, area in units of 100 m², and floor, as numbers around one."""
    return [rooms / 3, area / 100, floor / 5]
