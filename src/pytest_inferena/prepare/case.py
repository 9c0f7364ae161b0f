"""A model as the preparer knows it: a source has made it runnable, with its inputs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor, nn


def squared_error(*outputs: Tensor, target: list[Tensor]) -> Tensor:
    """Mean squared error of all outputs of real numbers: the loss where a case names none."""
    import torch

    found = [output for output in outputs if output.is_floating_point()]
    errors = [torch.nn.functional.mse_loss(one, other) for one, other in zip(found, target, strict=True)]
    return torch.stack(errors).sum()


@dataclass
class Case:
    """A model that can be run, with its inputs: `Case(module, inputs)` is enough, what else there is is found out.

    `module` takes the inputs as arguments of their names, or in their order: tensors, or lists, dicts and dataclasses
    of them; numbers, strings and None are given to it as they are. It returns the like. Its parameters have the names
    of the published checkpoint.
    """

    module: nn.Module
    inputs: Any  # of entry `inference`: by name, or a tuple by position, or the only tensor
    latency: Any = None  # of entry `latency`, the first element of the batch by default
    targets: dict[str, Any] = field(default_factory=dict)  # what the loss needs beside the outputs
    # loss(*tensors of the outputs, **targets) -> scalar. Text: the module, given the targets too, returns it by this
    # name. None: there is no training.
    loss: Any = squared_error
    outputs: tuple[str, ...] = ("output",)  # their names, in order; by default the paths to them: `logits`, `hidden.0`
    package: Callable[[], tuple[str, Mapping[str, Tensor]]] | None = None  # -> source's label, state dict
    hub: str | None = None  # repository of the checkpoint
    revision: str = ""  # of the repository that module and weights came from
    hub_folder: str = ""  # where in the repository it lies
