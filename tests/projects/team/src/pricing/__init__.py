"""Prices of flats."""

from pricing.features import features

__all__ = ["features"]
