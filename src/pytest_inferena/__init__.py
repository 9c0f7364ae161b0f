"""Which ML framework runs this model best on this machine, and does it still compute the right thing?"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_inferena.prepare.case import Case
    from pytest_inferena.verdict.gate import Verdict, judge

__all__ = ["Case", "Verdict", "judge"]

_MODULES = {"Case": "prepare.case", "Verdict": "verdict.gate", "judge": "verdict.gate"}


def __getattr__(name: str) -> Any:
    """Import what is public when it is asked for: pytest and every worker load this module and need none of it."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
