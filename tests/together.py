"""Many of the models of `tests.brought` in one, so that an engine runs all of them in a cell: `tests.together:NAME`.

Parameters, inputs, targets and outputs have paths that begin with the model's name, and collide where the model's do.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from tests import brought
from torch import Tensor, nn

from pytest_inferena import Case
from pytest_inferena.prepare.structure import called, returned, to_eval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PLAIN = (
    "alpha", "arange_f32", "bilinear", "bn1_batch1", "channel_mean", "collide_same_shape", "conv3d", "convt",
    "dataclass_out", "dict_out", "embbag", "encoder", "exported", "fft", "gridsample", "int_out", "iree_cat", "lstm",
    "mask_b11s", "mha_pad", "neginf_out", "nested_in", "none_out", "param_eq_input", "py_scalar", "safe_norm_zero",
    "scatter", "sdpa_row", "se_bn_1x1", "sort_cumsum", "target_eq_input", "uint8", "zeros_f32",
)  # fmt: skip
"""Those of which results and gradients are of one size."""
HUNDREDS = ("mish200", "softplus200")
"""Their results would hide errors of the others, whose scale is that of the largest."""


class Together(nn.Module):
    """Some models, each with its own inputs."""

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.names = [*modules]
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, **inputs: Mapping[str, Any]) -> dict[str, dict[str, Tensor]]:
        """All their results."""
        return {name: returned(called(self.get_submodule(name), inputs[name])) for name in self.names}


class Total:
    """The sum of the losses of some models, each of its own results."""

    def __init__(self, cases: Mapping[str, Case]) -> None:
        self.cases = cases
        for case in cases.values():
            to_eval(case.module)
        with torch.no_grad():
            self.counts = {name: len(returned(called(case.module, case.inputs))) for name, case in cases.items()}

    def __call__(self, *outputs: Tensor, **targets: Mapping[str, Tensor]) -> Tensor:
        """Results as they come, targets by model."""
        left, losses = list(outputs), []
        for name, case in self.cases.items():
            own, left = left[: self.counts[name]], left[self.counts[name] :]
            losses.append(case.loss(*own, **targets.get(name, {})))
        return torch.stack(losses).sum()


def _case(names: Sequence[str]) -> Case:
    cases: dict[str, Case] = {name: getattr(brought, name)() for name in names}
    inputs = {name: case.inputs for name, case in cases.items()}
    targets = {name: case.targets for name, case in cases.items() if case.targets}
    return Case(Together({n: case.module for n, case in cases.items()}), inputs, inputs, targets, loss=Total(cases))


plain, hundreds = (partial(_case, names) for names in (PLAIN, HUNDREDS))
