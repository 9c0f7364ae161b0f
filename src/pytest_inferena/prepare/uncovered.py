"""Parameters that no verdict covers: what is judged does not depend on their values.

Golden's gradients tell most: a parameter may be such a one only if zeros would pass for its gradient. Its values are
changed, and if the outputs stay as they were, no verdict can tell whether an engine has the right ones.
"""

from __future__ import annotations

import contextlib
import copy
from typing import TYPE_CHECKING, Any

import torch

from pytest_inferena.prepare.call import Call
from pytest_inferena.prepare.exact import Float64, plain_kernels
from pytest_inferena.prepare.proof import what_differs
from pytest_inferena.prepare.reference import arrays, run
from pytest_inferena.program.names import parameters_of
from pytest_inferena.verdict.scale import denominators, floor, limit
from pytest_inferena.verdict.tensors import distance

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pytest_inferena.prepare.case import Case
    from pytest_inferena.prepare.proof import Tensors

MOST = 16
"""How many parameters are changed one by one; where more are in doubt, none is named."""
SHOWN = 1e-5
"""Of the largest gradient of the outputs, one that is more than rounding."""


def uncovered(case: Case, golden: Mapping[str, Mapping[str, Any]], rights: Mapping[str, Tensors]) -> list[str]:
    """The parameters of which neither the outputs nor the gradients tell what their values are.

    Args:
        case: its module has its weights.
        golden: what `write_golden` found, by entry.
        rights: golden results, by entry.
    """
    entries = [name for name in ("latency", "inference") if name in golden]  # the cheapest first
    told = _told(golden["training"], rights["training"]) if "training" in golden else set()
    doubtful = [name for name in parameters_of(case.module) if name not in told]
    if not entries or not doubtful:
        return []
    entry = entries[-1]

    def moves(names: Collection[str]) -> bool:
        try:
            found = _changed(case, entry, names, golden[entry]["dtype"])
        except Exception:  # noqa: BLE001 - a model's own check of what it computes
            return True
        return bool(what_differs(rights[entry], golden[entry], found))

    shown = _shown(case, entries[0])
    rest = [name for name in doubtful if name not in shown]
    if rest and not moves(rest):
        return rest
    return [name for name in rest if not moves([name])] if 1 < len(rest) <= MOST else []


def _told(facts: Mapping[str, Any], right: Tensors) -> set[str]:
    """The parameters whose gradient can't be taken for zero."""
    sizes, rms = {}, {}
    for name, value in right.items():
        if value is not None and name.startswith("grad:"):
            sizes[name], rms[name] = value.size, distance(value, value).rms
    scales = denominators(rms)
    shown = {n for n in rms if rms[n] / scales[n] > limit(facts["tensors"][n], sizes[n], floor(n))}
    return {name.removeprefix("grad:") for name in shown}


def _changed(case: Case, entry: str, names: Collection[str], dtype: str) -> Tensors:
    """The outputs with other values of some parameters."""
    exact = getattr(torch, dtype)
    module = copy.deepcopy(case.module).to(exact)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in parameters_of(module).items():
            if name in names:
                size = parameter.square().mean().sqrt() if parameter.any() else 1.0
                parameter.add_(size * torch.randn(parameter.shape, generator=generator, dtype=exact))
    with plain_kernels(), Float64() if exact == torch.float64 else contextlib.nullcontext():
        results = run(module, case, entry, exact)
    return arrays(results)


def _shown(case: Case, entry: str) -> set[str]:
    """The parameters that outputs of real numbers have a gradient for."""
    module = copy.deepcopy(case.module)
    leaves = {name: parameter.requires_grad_() for name, parameter in parameters_of(module).items()}
    call, generator = Call(module, case, entry), torch.Generator().manual_seed(0)
    try:
        results = [x for x in call(*call.tensors().values()) if x.requires_grad]
        weighed = [(x * torch.randn(x.shape, generator=generator)).nan_to_num(0, 0, 0).sum() for x in results]
        found = torch.autograd.grad(torch.stack(weighed).sum(), list(leaves.values()), allow_unused=True)
    except Exception:  # noqa: BLE001 - operators without a gradient, no output that has one: changing them tells
        return set()
    sizes = {name: 0.0 if g is None else float(g.abs().max()) for name, g in zip(leaves, found, strict=True)}
    return {name for name, size in sizes.items() if size > SHOWN * max(sizes.values())}
