"""Every operator of a Program, by example: what the tests of all engines and exchange formats read.

A case's name begins with its operator's, and goes on after a hyphen where it is one of several ways of calling it.
"""

from __future__ import annotations

from tests.layer_cases import LAYERS
from tests.tensor_cases import TENSORS, Case

CASES: dict[str, Case] = TENSORS | LAYERS
"""Name of the case → operator and its arguments, as docs/program-format.md has them."""
