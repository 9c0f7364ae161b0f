"""A callable of the user's own modules, which returns a module, a module with inputs, or a Case."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import nn

from pytest_inferena.prepare.case import Case
from pytest_inferena.prepare.sources.configured import case_of

if TYPE_CHECKING:
    from pytest_inferena.collect.source import Source
    from pytest_inferena.prepare.sources.wanted import Wanted


def load(source: Source, wanted: Wanted) -> Case:
    """Import and call it; a `size`, a `batch` and a `seq` are given to who takes them.

    Raises:
        ValueError: there is no such callable, or it returns something else.
        Unsupported: it has no batch or length that can be set, and one is asked for.
    """
    found: Any = _found(source.place)
    takes = inspect.signature(found).parameters
    made = found(**{name: value for name, value in vars(wanted).items() if name in takes})
    left = replace(wanted, batch=None if "batch" in takes else wanted.batch, seq=None if "seq" in takes else wanted.seq)
    inputs = getattr(made, "example_input_array", None)  # the name that Lightning gives it
    has_configuration = getattr(made, "config", None) is not None or getattr(made, "default_cfg", None)
    if isinstance(made, nn.Module) and inputs is None and has_configuration:
        return case_of(made, left)
    left.arguments(found, source.place)
    if isinstance(made, Case):
        return made
    if isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], nn.Module):
        return Case(*made)
    if not isinstance(made, nn.Module):
        raise ValueError(
            f"{source.place} returned {type(made).__name__}; return a torch.nn.Module, (module, inputs) or a Case"
        )
    if inputs is not None:
        return Case(made, inputs)
    raise ValueError(
        f"{source.place} returned {type(made).__name__}, and nobody knows what it takes; return Case(module, inputs), "
        "or give the module an attribute example_input_array"
    )


def _found(place: str) -> Any:
    name, _, path = place.partition(":")
    try:
        found: Any = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # one that the module itself imports
        raise ValueError(f"there is no module {error.name}; {place} is looked for where tests import from") from error
    for part in path.split("."):
        if not hasattr(found, part):
            raise ValueError(f"{place}: {name} has no {path}")
        found = getattr(found, part)
    if not callable(found):
        raise ValueError(f"{place} is {type(found).__name__}, and nothing to call; name what returns a model")
    return found
