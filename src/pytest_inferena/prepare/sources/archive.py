"""An archive of torch.export, `net.pt2`."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import torch

from pytest_inferena.prepare.case import Case

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_inferena.collect.source import Source


def load(source: Source, size: str) -> Case:
    """Open it. Its inputs are those that it was exported with; it is trained if it returns its loss.

    Raises:
        ValueError: this PyTorch cannot open it, or it does not say what its inputs are.
    """
    del size  # an archive has one
    try:
        program = torch.export.load(source.place)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ValueError(
            f"{source.place} is no archive that torch {torch.__version__} can open ({reason[:300]}); it may be cut "
            "off, or of another version: export the module again with torch.export.save"
        ) from error
    if program.example_inputs is None:
        raise ValueError(f"{source.place} has no example inputs; save it with those that it was exported with")
    arguments, keywords = program.example_inputs
    module = program.module()
    inputs = {**_by_position(module, arguments), **keywords}
    return Case(module, inputs, latency=inputs, loss=_loss(program))


def _by_position(module: Any, arguments: tuple[Any, ...]) -> dict[str, Any]:
    return dict(inspect.signature(module.forward).bind_partial(*arguments).arguments)


def _loss(program: torch.export.ExportedProgram) -> Any:
    """Picks the loss among the outputs: the only scalar of real numbers. None if there is no such."""
    outputs = [node.meta["val"] for node in program.graph.output_node().args[0] if node is not None]
    found = [at for at, output in enumerate(outputs) if output.ndim == 0 and output.is_floating_point()]
    if len(found) != 1:
        return None

    def pick(*outputs: Tensor) -> Tensor:
        return outputs[found[0]]

    return pick
