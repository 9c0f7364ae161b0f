"""A model's file: Python with a function `case(size)`."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_inferena.prepare.case import Case

if TYPE_CHECKING:
    from pytest_inferena.collect.source import Source
    from pytest_inferena.prepare.sources.wanted import Wanted


def load(source: Source, wanted: Wanted) -> Case:
    """Run it.

    Raises:
        ValueError: the file has no function `case`, or the function returns something else.
        Unsupported: the function takes no batch or length, and one is asked for.
    """
    name = f"pytest_inferena_model_{Path(source.place).stem}"
    spec = importlib.util.spec_from_file_location(name, source.place)
    if spec is None or spec.loader is None:
        raise ValueError(f"{source.place} is not a Python file; a model's file ends in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # torch and dataclasses look classes up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    make = getattr(module, "case", None)
    if not callable(make):
        raise ValueError(f"{source.place} has no function case(size); define one that returns a Case.")
    if not inspect.signature(make).parameters:
        raise ValueError(f"{source.place}: case() has to take the size: def case(size='full').")
    case = make(wanted.size, **wanted.arguments(make, source.place))
    if not isinstance(case, Case):
        kind = type(case).__name__
        raise ValueError(f"{source.place}: case({wanted.size!r}) returned {kind}; return a Case.")
    return case
