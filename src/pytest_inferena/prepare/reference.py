"""What is right: a module's own results in float64, and how far PyTorch's float32 lies from them."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from safetensors.numpy import save_file

from pytest_inferena.prepare.attempts import require_gradient
from pytest_inferena.prepare.call import Call
from pytest_inferena.prepare.structure import to_eval
from pytest_inferena.program.names import parameters_of
from pytest_inferena.verdict.scale import denominators, floor, relative
from pytest_inferena.verdict.tensors import distance

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor, nn

    from pytest_inferena.prepare.case import Case
    from pytest_inferena.verdict.tensors import Array

ENTRIES = ("inference", "latency", "training")


def run(module: nn.Module, case: Case, entry: str, dtype: torch.dtype = torch.float32) -> dict[str, Tensor | None]:
    """Run one entry eagerly, in eval mode.

    Args:
        module: the case's own or a copy of it, its parameters in `dtype`.
        case: inputs, targets and loss; floating-point tensors among them are cast to `dtype`.
        entry: "inference" and "latency" give the outputs by name. "training" gives `loss`, and `grad:PARAMETER` for
            each parameter with requires_grad, or None if it has no gradient. A tied parameter counts once, under
            its first name.
        dtype: what to compute in.

    Raises:
        ValueError: the module gives another number of outputs than the case names, or the loss is no scalar.
        Unsupported: the loss depends on no parameter.
    """
    to_eval(module)
    call = Call(module, case, entry)
    values = [t.to(dtype) if t.is_floating_point() else t for t in call.tensors().values()]
    with torch.set_grad_enabled(entry == "training"):
        results = call(*values)
    if entry != "training":
        return dict(zip(call.outputs, results, strict=True))
    loss = require_gradient(results[0])
    parameters = {name: p for name, p in parameters_of(module).items() if p.requires_grad}
    found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    gradients = (g.to_dense() if g is not None and g.is_sparse else g for g in found)
    return {"loss": loss.detach()} | {f"grad:{n}": g for n, g in zip(parameters, gradients, strict=True)}


def golden(case: Case, entry: str) -> dict[str, Tensor | None]:
    """The results of one entry (see `run`) of the untouched module, computed in float64 on the CPU.

    Raises:
        ValueError: the loss, an output or a gradient is not finite.
    """
    exact = copy.deepcopy(case.module).cpu().double()
    return _checked(run(exact, case, entry, torch.float64), torch.float64)


def reference_errors(case: Case, entry: str, golden: Mapping[str, Array | None]) -> dict[str, float]:
    """NRMSE of PyTorch float32 eager against golden, for each tensor that golden has.

    Raises:
        RuntimeError: two runs of it differ by more than a tenth of the gate's floor.
        ValueError: the loss, an output or a gradient is not finite.
    """
    first = _arrays(_checked(run(case.module, case, entry), torch.float32))
    second = _arrays(run(case.module, case, entry))
    rms, errors, spreads = {}, {}, {}
    for name, right in golden.items():
        if right is None:
            continue
        one, other = first.pop(name), second.pop(name)
        if one is None or other is None:
            raise RuntimeError(f"{name} has a gradient in float64 and none in float32: make the model deterministic.")
        gap = distance(right, one)
        rms[name], errors[name], spreads[name] = gap.rms, gap.rmse, distance(one, other).rmse
    scales = denominators(rms)
    for name, spread in spreads.items():
        if (nrmse := relative(spread, scales[name])) > floor(name) / 10:
            raise RuntimeError(
                f"{name}: two runs of PyTorch float32 differ by NRMSE {nrmse:.1e}, more than a tenth of the floor "
                f"{floor(name):.0e}; look in the model for random or nondeterministic operators, and for what it keeps "
                "from one call to the next."
            )
    return {name: relative(error, scales[name]) for name, error in errors.items()}


def write_golden(case: Case, entry: str, folder: Path) -> dict[str, Any]:
    """Write `golden-ENTRY.safetensors`, rounded from float64 to float32.

    Returns:
        What the gate needs beside the file, as JSON values: "tensors" maps each name to the NRMSE of PyTorch
        float32, "none" lists the gradients that do not exist.
    """
    rounded = _arrays(golden(case, entry))
    tensors = {name: tensor for name, tensor in rounded.items() if tensor is not None}
    save_file(tensors, folder / f"golden-{entry}.safetensors")
    errors = reference_errors(case, entry, tensors)
    return {"tensors": errors, "none": [name for name, tensor in rounded.items() if tensor is None]}


def _arrays(tensors: dict[str, Tensor | None]) -> dict[str, Array | None]:
    """Empty the mapping into contiguous NumPy arrays; floating-point ones become float32."""
    arrays: dict[str, Array | None] = {}
    for name in list(tensors):
        tensor = tensors.pop(name)
        if tensor is not None and tensor.is_floating_point():
            tensor = tensor.float()
        arrays[name] = None if tensor is None else tensor.detach().cpu().contiguous().numpy()
    return arrays


def _checked(results: dict[str, Tensor | None], dtype: torch.dtype) -> dict[str, Tensor | None]:
    for name, tensor in results.items():
        if tensor is not None and not bool(torch.isfinite(tensor).all()):
            raise ValueError(
                f"{name} is not finite in {str(dtype).removeprefix('torch.')}: activations overflow; check the "
                "checkpoint, or the scale of the model where its weights are seeded."
            )
    return results
