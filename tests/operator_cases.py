"""Every operator of a Program, by example: what the tests of all engines and exchange formats read.

A case's name begins with its operator's, and goes on after a hyphen where it is one of several ways of calling it.
"""

from __future__ import annotations

from tests.layer_cases import LAYERS
from tests.tensor_cases import BEYOND, IMAGE, TENSORS, Case, X, floats

CASES: dict[str, Case] = TENSORS | LAYERS
"""Name of the case → operator and its arguments, as docs/program-format.md has them."""
_volume = {"input": IMAGE[None], "weight": floats(3, 2, 3, 3, 3), "bias": None}
_plain = {"stride": [1], "padding": [1], "dilation": [1], "groups": 1}
_bare = {"input": X, "normalized_shape": [3, 4], "weight": None, "eps": 1e-3}
ALL: dict[str, Case] = (
    CASES | BEYOND | {"conv3d": ("conv3d", _volume | _plain), "rms_norm-bare": ("rms_norm", _bare)}
)  # fmt: skip
"""Those, and what only the ONNX table has."""
