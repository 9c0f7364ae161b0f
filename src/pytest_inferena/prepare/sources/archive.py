"""An archive of torch.export, `net.pt2`.

No pickle in it runs: tensors are read as `torch.load(weights_only=True)` reads them. What only a full unpickler reads
is refused, as are compiled libraries. PyTorch still evaluates text of it: expressions of dynamic shapes.
"""

from __future__ import annotations

import contextlib
import inspect
import os
from typing import TYPE_CHECKING, Any

import torch
from torch.export.pt2_archive import PT2ArchiveReader

from pytest_inferena.prepare.case import Case

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from pytest_inferena.collect.source import Source
    from pytest_inferena.prepare.sources.wanted import Wanted

RUNS = ("custom_obj_", "opaque_obj_", "aotinductor/")
"""What the names of records have in them that are unpickled, or are loaded as libraries."""
ONLY_DATA = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
"""The variable with which `torch.load` reads data alone, even where `torch.export.load` asks for all."""


def load(source: Source, wanted: Wanted) -> Case:
    """Open it. Its inputs are those that it was exported with; it is trained if it returns its loss.

    Raises:
        ValueError: this PyTorch cannot open it, or it does not say what its inputs are.
        Unsupported: another batch or length is asked for.
    """
    wanted.refuse(source.place, "batch", "seq", remedy="export it once more, with inputs of that size")
    try:
        with PT2ArchiveReader(source.place) as reader:
            code = [name for name in reader.get_file_names() if any(part in name.lower() for part in RUNS)]
        with _only_data():
            program = None if code else torch.export.load(source.place)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ValueError(
            f"{source.place} is no archive that torch {torch.__version__} can open ({reason[:300]}); it may be cut "
            "off, or of another version: export the module again with torch.export.save"
        ) from error
    if program is None:
        raise ValueError(f"{source.place} holds {code[0]}, which runs when it is read: export the module without it")
    if program.example_inputs is None:
        raise ValueError(f"{source.place} has no example inputs; save it with those that it was exported with")
    arguments, keywords = program.example_inputs
    module = program.module(check_guards=False)  # they are text that would be run
    inputs = {**_by_position(module, arguments), **keywords}
    return Case(module, inputs, latency=inputs, loss=_loss(program))


@contextlib.contextmanager
def _only_data() -> Iterator[None]:
    before = os.environ.get(ONLY_DATA)
    os.environ[ONLY_DATA] = "1"
    try:
        yield
    finally:
        del os.environ[ONLY_DATA]
        os.environ |= {} if before is None else {ONLY_DATA: before}


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
