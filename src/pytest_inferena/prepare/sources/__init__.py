"""Cases from what a user names: a module for each kind of source."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import torch

from pytest_inferena.cell import DEFAULTS
from pytest_inferena.collect.source import Source
from pytest_inferena.prepare.complete import complete
from pytest_inferena.prepare.sources.wanted import Wanted

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_inferena.prepare.case import Case

_MODULES = {
    "file": "file", "python": "python", "hf": "huggingface", "diffusers": "huggingface", "timm": "images",
    "torchvision": "images", "pt2": "archive",
}  # fmt: skip


def load_case(
    source: Source | Path, size: str, batch: int | None = None, seq: int | None = None, inputs: str = DEFAULTS["inputs"]
) -> Case:
    """Make the case of a source, or of a model's file.

    Args:
        source: what a user named.
        size: "full" or "tiny", for what has several.
        batch: elements of the inputs; None for the usual number.
        seq: their length, in tokens or steps; None for the usual one.
        inputs: "noise" for the usual ones, or "smooth".

    Raises:
        ValueError: there is no model, or it cannot be made here; the message says what to do.
        Unsupported: it has no batch or length that can be set, or no input that can be smooth, and one is asked for.
    """
    source = source if isinstance(source, Source) else Source.parse(str(source), None)
    module = importlib.import_module(f"{__name__}.{_MODULES[source.kind]}")
    torch.manual_seed(0)  # weights of its own may be those that PyTorch begins with
    try:
        case: Case = module.load(source, Wanted(size, batch, seq))
        return complete(case, smooth=inputs == "smooth")
    except SystemExit as error:
        raise ValueError(f"{source} ends the process: exit({error.code!r}); it has to return") from error
