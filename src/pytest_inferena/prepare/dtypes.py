"""What a model computes in has to be float32: verdicts are calibrated for nothing else yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pytest_inferena.prepare.structure import tensors
from pytest_inferena.program.names import parameters_of
from pytest_inferena.worker.format import Unsupported

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_inferena.prepare.case import Case


def refuse_others(case: Case) -> None:
    """Check parameters and inputs.

    Raises:
        Unsupported: it names those that are of another type of real numbers.
    """
    _refuse("parameters", parameters_of(case.module))
    _refuse("inputs", tensors({**case.inputs, **case.latency, **case.targets}))


def refuse_other_results(results: Mapping[str, torch.Tensor | None]) -> None:
    """Check what the module gives; see `refuse_others`."""
    _refuse("outputs", results)


def _refuse(what: str, given: Mapping[str, torch.Tensor | None]) -> None:
    others = {
        name: str(tensor.dtype).removeprefix("torch.") for name, tensor in given.items()
        if isinstance(tensor, torch.Tensor) and tensor.is_floating_point() and tensor.dtype != torch.float32
    }  # fmt: skip
    if others:
        named = ", ".join(list(others)[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
        raise Unsupported(
            f"{what} in {', '.join(sorted(set(others.values())))}: {named}; verdicts are calibrated for float32 only, "
            "so cast them with .float()"
        )
