"""Imports an adapter from wherever its folder lies; in a worker, and in the preparer."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def load_adapter(framework: str, file: Path) -> Any:
    """Import an adapter by path, anew, as the module `adapter` of a package that is its folder.

    The package is called `pytest_inferena_adapter_FRAMEWORK`, so that the adapter finds the files beside it by
    `from . import windows`. Its folder is not on sys.path: it would hide the engine whose name it has.
    """
    name = f"pytest_inferena_adapter_{framework.replace('.', '_')}"
    for known in [module for module in sys.modules if module == name or module.startswith(f"{name}.")]:
        del sys.modules[known]
    place = importlib.machinery.ModuleSpec(name, None, is_package=True)
    place.submodule_search_locations = [str(file.parent)]
    sys.modules[name] = importlib.util.module_from_spec(place)
    spec = importlib.util.spec_from_file_location(f"{name}.adapter", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
