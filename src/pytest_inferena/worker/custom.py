"""Operators that are not PyTorch's own: what has registered them is run again, by engines that are built on PyTorch."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_inferena.worker.format import Program


def register(program: Program) -> None:
    """Run the model's file, which defines or imports them; nothing where the Program has PyTorch's operators alone.

    Its function `case` is not called. A module that has the name of a namespace is imported too: `torchvision`.
    """
    if program.custom is None:
        return
    sys.path += [place for place in program.custom["path"] if place not in sys.path]
    _offer_case()
    file = Path(program.custom["file"])
    name = f"pytest_inferena_model_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if name not in sys.modules and spec is not None and spec.loader is not None:
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    for namespace in program.custom["namespaces"]:
        if importlib.util.find_spec(namespace) is not None:
            importlib.import_module(namespace)


def _offer_case() -> None:
    """Let the file import what describes a model: a worker has no other part of the harness."""
    parent = sys.modules["pytest_inferena"]
    if importlib.util.find_spec("pytest_inferena.prepare") is None and not hasattr(parent, "Case"):
        old = ModuleType("pytest_inferena.model")
        stand_in: Any = type("Case", (), {})
        vars(parent)["Case"] = vars(old)["Case"] = stand_in
        sys.modules[old.__name__] = old
