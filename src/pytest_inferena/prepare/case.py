"""A model as the preparer knows it: the file that describes it has made it runnable, with its inputs."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import Tensor, nn


@dataclass
class Case:
    """A model that can be run, with its inputs: what `case(size)` of a model's file returns.

    `module` takes the inputs as arguments of their names: tensors, or lists, dicts and dataclasses of them; numbers,
    strings and None are given to it as they are. It returns the like. Its parameters have the names of the published
    checkpoint.
    """

    module: nn.Module
    inputs: dict[str, Any]  # of entry `inference`
    latency: dict[str, Any]  # of entry `latency`
    targets: dict[str, Any]  # what the loss needs beside the outputs
    loss: Callable[..., Tensor]  # loss(*tensors of the outputs, **targets) -> scalar
    outputs: tuple[str, ...] = ("output",)  # their names, in order; by default the paths to them: `logits`, `hidden.0`
    package: Callable[[], tuple[str, Mapping[str, Tensor]]] | None = None  # -> source's label, state dict
    hub: str | None = None  # repository of the checkpoint
    hub_folder: str = ""  # where in the repository it lies


def load_case(model_source: Path, size: str) -> Case:
    """Run a model's file and make its case of one size, "full" or "tiny".

    Raises:
        ValueError: the file has no function `case`, or the function returns something else.
    """
    name = f"pytest_inferena_model_{model_source.stem}"
    spec = importlib.util.spec_from_file_location(name, model_source)
    if spec is None or spec.loader is None:
        raise ValueError(f"{model_source} is not a Python file; a model's file ends in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # torch and dataclasses look classes up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    make = getattr(module, "case", None)
    if not callable(make):
        raise ValueError(f"{model_source} has no function case(size); define one that returns a Case.")
    if not inspect.signature(make).parameters:
        raise ValueError(f"{model_source}: case() has to take the size: def case(size='full').")
    case = make(size)
    if not isinstance(case, Case):
        kind = type(case).__name__
        raise ValueError(f"{model_source}: case({size!r}) returned {kind}; return a Case.")
    return case
