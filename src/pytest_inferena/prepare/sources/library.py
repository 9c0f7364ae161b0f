"""Optional libraries that make models."""

from __future__ import annotations

import importlib
from typing import Any


def needed(name: str) -> Any:
    """Import one.

    Raises:
        ValueError: it is not installed, or broken.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        remedy = f"pip install {name}" if getattr(error, "name", None) == name else "mend its installation"
        raise ValueError(f"{name} cannot be imported ({error}); {remedy}") from error
