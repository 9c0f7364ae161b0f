"""What an error is measured against; the preparer needs this of the gate, and no record.

Every tensor is measured whole, by NRMSE = RMSE(golden, x) / max(RMS(golden), s). The kinds of tensors are outputs,
the loss and gradients; s is 1e-4 of the largest RMS of the tensor's kind. The measure is relative: zeros score 1 at
any scale. s is there for gradients that are zero in exact arithmetic: without it every engine would fail on them. Where
a whole kind is zero there is nothing to be relative to, and s is a number of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SMALLEST = 1e-4  # s, as a share of the largest RMS of the kind
ALONE = 1e-2  # s of a kind that is zero; below its floor lies what float32 leaves of terms of about one that cancel
FLOORS = {"float32": {"output": 1e-5, "loss": 1e-5, "grad": 1e-4}}


def denominators(rms: Mapping[str, float]) -> dict[str, float]:
    """What each tensor's RMSE is divided by: its golden RMS, or s of its kind if that is more. It is never zero."""
    largest: dict[str, float] = {}
    for name, value in rms.items():
        largest[kind(name)] = max(largest.get(kind(name), 0.0), value)
    s = {name: SMALLEST * value or ALONE for name, value in largest.items()}
    return {name: max(value, s[kind(name)]) for name, value in rms.items()}


def limit(reference: float, size: int, floor: float) -> float:
    """The NRMSE that passes, by that of PyTorch float32, which says less about few elements."""
    return max((10 if size < 10 else 3 if size < 1000 else 2) * reference, floor)


def floor(name: str, dtype: str = "float32") -> float:
    """The NRMSE that always passes, however small PyTorch's own is."""
    return FLOORS[dtype][kind(name)]


def kind(name: str) -> str:
    """The kind of a tensor: "output", "loss" or "grad"."""
    if name.startswith("grad:"):
        return "grad"
    return "loss" if name == "loss" else "output"
