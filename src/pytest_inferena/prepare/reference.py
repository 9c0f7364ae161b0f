"""What is right: a module's own results in float64, and how far PyTorch's float32 lies from them."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from safetensors.numpy import save_file

from pytest_inferena.prepare.attempts import require_gradient
from pytest_inferena.prepare.calibrate import measuring, uneven
from pytest_inferena.prepare.call import Call
from pytest_inferena.prepare.dtypes import refuse_other_results
from pytest_inferena.prepare.exact import Float64, plain_kernels
from pytest_inferena.prepare.rounding import RUNS, Rounding, second_opinion, ties
from pytest_inferena.prepare.structure import to_eval
from pytest_inferena.program.names import parameters_of
from pytest_inferena.verdict.scale import ALONE, denominators, floor, kind
from pytest_inferena.verdict.tensors import distance

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor, nn

    from pytest_inferena.prepare.case import Case
    from pytest_inferena.verdict.tensors import Array

ENTRIES = ("training", "inference", "latency")  # what training runs is inference too
CANCELLED = 1e-13
"""The RMS that float64 leaves at most of numbers of about one that cancel."""
OVERFLOW = "activations overflow; check the checkpoint, or the scale of the model where its weights are seeded."
RANDOM = "look in the model for random or nondeterministic operators, and for what it keeps from one call to the next."
Results: TypeAlias = "dict[str, Tensor | None]"


def run(
    module: nn.Module, case: Case, entry: str, dtype: torch.dtype = torch.float32, seen: Results | None = None
) -> Results:
    """Run one entry eagerly, in eval mode.

    Args:
        module: the case's own or a copy of it, its parameters in `dtype`.
        case: inputs, targets and loss; floating-point tensors among them are cast to `dtype`.
        entry: "inference" and "latency" give the outputs by name. "training" gives `loss`, and `grad:PARAMETER` for
            each parameter with requires_grad, or None if it has no gradient. A tied parameter counts once, under
            its first name.
        dtype: what to compute in.
        seen: training adds the outputs to it.

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
    if seen is not None:
        seen |= {name: x.detach().clone() for name, x in zip(call.outputs, results[1:], strict=True)}
    loss = require_gradient(results[0])
    parameters = {name: p for name, p in parameters_of(module).items() if p.requires_grad}
    found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    gradients = (g.to_dense() if g is not None and g.is_sparse else g for g in found)
    return {"loss": loss.detach()} | {f"grad:{n}": g for n, g in zip(parameters, gradients, strict=True)}


class Runs:
    """The runs of a case's module that golden and the reference are made of."""

    def __init__(self, case: Case, *, apart: bool = False) -> None:
        self.case, self.apart = case, apart
        """Apart: what training runs is not inference too."""
        self.sizes: dict[str, float] = {}
        """What every layer's activations are in float32, as `calibrate.sizes` has them."""
        self._inference: dict[str, Results] = {}

    def float64(self, entry: str) -> Results:
        """The results of one entry of the untouched module, computed in float64 on the CPU, see `exact`."""
        return self._run(entry, "float64", Float64())

    def float32(self, entry: str, turn: int = 0) -> Results:
        """The same in float32. Each turn computes it anew."""
        return self._run(entry, f"float32 {turn}")

    def rounded(self, entry: str, turn: int) -> Results:
        """The same in float64, off by what rounding to float32 can do."""
        return self._run(entry, f"rounded {turn}", Rounding(turn))

    def _run(self, entry: str, kept: str, mode: Float64 | None = None) -> Results:
        if entry == "inference" and kept in self._inference:
            return self._inference.pop(kept)
        module, dtype = self.case.module, torch.float32
        if mode is not None:
            module, dtype = copy.deepcopy(module).cpu().double(), torch.float64
        outputs: Results = {}
        with plain_kernels(), mode or measuring(module, self.sizes):
            results = run(module, self.case, entry, dtype, outputs)
        if entry == "training" and not self.apart:
            self._inference[kept] = outputs
        return results


def golden(case: Case, entry: str) -> Results:
    """The results of one entry (see `run`) of the untouched module, computed in float64 on the CPU.

    Raises:
        ValueError: the loss, or all of an output or gradient, is not finite.
    """
    return _checked(Runs(case).float64(entry), torch.float64)


def reference_errors(
    case: Case, entry: str, golden: Mapping[str, Array | None], runs: Runs | None = None
) -> dict[str, float]:
    """NRMSE of PyTorch float32 eager against golden, for each tensor of real numbers that golden has.

    Raises:
        RuntimeError: two runs of it differ by more than a tenth of the gate's floor.
        ValueError: it is not finite where golden is, or the other way round.
    """
    runs = runs or Runs(case)
    results = _checked(runs.float32(entry), torch.float32)
    refuse_other_results(results)
    first = arrays(results)
    second = arrays(runs.float32(entry, 1))
    rms, errors, spreads = {}, {}, {}
    for name, right in golden.items():
        if right is None:
            continue
        one, other = first.pop(name), second.pop(name)
        if one is None or other is None:
            raise RuntimeError(f"{name} has a gradient in float64 and none in float32: make the model deterministic.")
        if right.dtype.kind in "iub":
            if not np.array_equal(one, other):
                raise RuntimeError(f"{name}: two runs of PyTorch float32 differ; {RANDOM}")
            continue
        gap = distance(right, one)
        if not gap.agrees:
            raise ValueError(f"{name} is not finite in float32 where it is in float64, or the reverse: {OVERFLOW}")
        rms[name], errors[name], spreads[name] = gap.rms, gap.rmse, distance(one, other).rmse
    scales = denominators(rms)
    for name, spread in spreads.items():
        if (nrmse := spread / scales[name]) > floor(name) / 10:
            raise RuntimeError(
                f"{name}: two runs of PyTorch float32 differ by NRMSE {nrmse:.1e}, more than a tenth of the floor "
                f"{floor(name):.0e}; {RANDOM}"
            )
    return {name: error / scales[name] for name, error in errors.items()}


def write_golden(case: Case, entry: str, folder: Path, runs: Runs | None = None) -> dict[str, Any]:
    """Write `golden-ENTRY.safetensors`, rounded from float64 to float32.

    Returns:
        What the gate needs beside the file, as JSON values: "dtype" is what it was computed in, "tensors" maps each
        name to the NRMSE of PyTorch float32, or of integers to the choices that float32 cannot decide, "none" lists
        the gradients that do not exist, "uneven" the layers whose activations are far from unit size, with it, and
        "notes" is what every verdict has to say.
    """
    runs, dtype, notes = runs or Runs(case), "float64", []
    try:
        exact = runs.float64(entry)
    except Exception as error:  # noqa: BLE001 - a kernel that is not there, a check of dtypes, a model's own check
        exact, dtype = runs.float32(entry, 2), "float32"  # raises what is the model's own error
        reason = str(error).strip().splitlines() or [type(error).__name__]
        notes += [f"golden is float32, run twice, and not float64, which PyTorch cannot run here: {reason[0][:200]}"]
    rounded = arrays(dict(_checked(exact, torch.float64)))
    tensors = {name: tensor for name, tensor in rounded.items() if tensor is not None}
    errors: dict[str, Any] = reference_errors(case, entry, tensors, runs)
    _cancel(tensors, errors)
    save_file(tensors, folder / f"golden-{entry}.safetensors")
    if not notes:
        notes += second_opinion(errors, exact, lambda turn: runs.rounded(entry, turn))
        if len(errors) < len(tensors):
            errors |= ties([runs.float32(entry, 2), *(runs.rounded(entry, turn) for turn in range(RUNS))], exact)
    none = [name for name, tensor in rounded.items() if tensor is None]
    apart = {name: size for name, size in uneven(case.module, runs.sizes).items() if math.isfinite(size)}
    return {"dtype": dtype, "tensors": errors, "none": none, "uneven": apart, "notes": notes}


def _cancel(tensors: dict[str, Array], errors: dict[str, float]) -> None:
    """Make zeros of what is zero but for the rounding of float64: of float32's there is more than of the result."""
    rms = {name: distance(tensors[name], tensors[name]).rms for name in errors}
    scales = denominators(rms)
    for one in {kind(name) for name in errors}:
        names = [name for name in errors if kind(name) == one]
        if all(rms[name] < CANCELLED and (errors[name] > 0.5 or not rms[name]) for name in names):
            for name in names:
                tensors[name] = np.where(np.isfinite(tensors[name]), 0, tensors[name]).astype(tensors[name].dtype)
                errors[name] *= scales[name] / ALONE


def arrays(tensors: Results) -> dict[str, Array | None]:
    """Empty the mapping into contiguous NumPy arrays; floating-point ones become float32."""
    arrays: dict[str, Array | None] = {}
    for name in list(tensors):
        tensor = tensors.pop(name)
        if tensor is not None and tensor.is_floating_point():
            tensor = tensor.float()
        arrays[name] = None if tensor is None else tensor.detach().cpu().contiguous().numpy()
    return arrays


def _checked(results: Results, dtype: torch.dtype) -> Results:
    """Some values may be infinite or no number; a loss, or all of a tensor, says nothing then."""
    for name, tensor in results.items():
        if tensor is not None and tensor.numel() and not bool(torch.isfinite(tensor).any()):
            raise ValueError(f"{name} is not finite in {str(dtype).removeprefix('torch.')}: {OVERFLOW}")
    return results
