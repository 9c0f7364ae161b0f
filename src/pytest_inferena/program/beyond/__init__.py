"""Operators of ATen beyond the closed set, written with those in it, where no decomposition of PyTorch's serves.

A rule gets the node's arguments by ATen's names and what the node makes.
"""

from pytest_inferena.program.beyond.experts import EXPERTS
from pytest_inferena.program.beyond.functions import FUNCTIONS
from pytest_inferena.program.beyond.order import ORDER
from pytest_inferena.program.beyond.scatter import SCATTER
from pytest_inferena.program.beyond.whole import WHOLE

BEYOND = {**EXPERTS, **FUNCTIONS, **ORDER, **SCATTER, **WHOLE}
"""ATen's name → its rule."""
