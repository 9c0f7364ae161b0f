"""Holds what a Program makes of operators to what PyTorch makes of them in float64."""

from __future__ import annotations

import copy
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from tests.opinfo.samples import Calls, Total
from tests.programs import entry_of
from tests.test_expand import SMALLEST
from torch import Tensor

from pytest_inferena.program.capture import Exported, export, parameter_names
from pytest_inferena.program.expand import expand
from pytest_inferena.program.joint import joint
from pytest_inferena.program.operators import OPERATORS
from pytest_inferena.worker.aten import to_module

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_inferena.worker.format import Entry

    Results = Mapping[str, Tensor | None]

SHARE = {False: 1e-5, True: 1e-4}
"""How far a result, or a gradient, may be off: the gate's floors, as a share of its largest number."""
OWN = 10
"""Or so many times what PyTorch's own float32 is off."""


class Missing(Exception):  # noqa: N818 - an outcome
    """The Program has operators that are not of the closed set."""


class Held:
    """Calls as entries of a Program, and what PyTorch makes of them."""

    def __init__(self, calls: Calls) -> None:
        self.calls, self.inputs = calls, calls.inputs
        self.total = Total(calls)
        self.trains = any(self.total.has)
        self.results = self._both(results)
        self.gradients = self._both(gradients) if self.trains else {}

    def _both(self, compute: Callable[[Calls], Results]) -> dict[str, tuple[Tensor, float]]:
        """What is right, and how far it may be off."""
        right, near = compute(_double(self.calls)), compute(self.calls)
        found: dict[str, tuple[Tensor, float]] = {}
        for name, near_one in near.items():
            exact, rounded = right[name], near_one
            if exact is None or rounded is None:
                continue
            exact, rounded = exact.detach(), rounded.detach()
            wide, off = exact.double(), _off(exact, rounded)
            finite = wide[wide.isfinite()]
            scale = float(finite.abs().max().clamp(min=1e-3)) if finite.numel() else 1e-3
            share = SHARE[compute is gradients] if rounded.is_floating_point() else 0.0
            found[name] = (wide.to(rounded.dtype) if share else rounded, max(share * scale, OWN * off))
        return found

    @cached_property
    def exported(self) -> Exported:
        """Once for all entries."""
        return export(self.total, self.inputs, parameter_names(self.total), trains=self.trains)

    def inference(self) -> Entry:
        """With all results."""
        results = {name: at for at, name in enumerate(self.calls.outputs, 1)}
        return _complete(entry_of(self.exported.graph(self.inputs, results)), self.inputs)

    def training(self) -> Entry:
        """With a loss."""
        made = self.exported.graph(self.inputs, {"loss": 0}, trains=True)
        return _complete(entry_of(made, "training"), self.inputs)

    def joint(self, training: Entry) -> Entry:
        """With gradients."""
        parameters = dict(self.total.named_parameters())
        return _complete(entry_of(joint(training, parameters, self.inputs), "joint"), self.inputs)

    def wrong(self) -> list[str]:
        """What differs, in PyTorch: the Program, what it is with the fewest operators, and their gradients.

        Raises:
            Missing: an operator is not of the closed set.
        """
        entry = known(self.inference())
        found = [*_wrong(self.results, self.run(entry)), *_wrong(self.results, self.run(smallest(entry)), "expanded ")]
        if self.trains and not found:
            training = known(self.training())
            for entry, kind in ((training, ""), (smallest(training), "expanded ")):
                found += _wrong(self.gradients, self.by_autograd(entry), f"{kind}autograd ")
            found += _wrong(self.gradients, _by_parameter(self.run(known(self.joint(training)))), "joint ")
        return found

    def run(self, entry: Entry) -> dict[str, Tensor]:
        """Its outputs."""
        module = to_module(entry, dict(self.total.named_parameters()))
        values = module(*(self.inputs[spec.name] for spec in entry.inputs))
        return dict(zip(entry.outputs, values, strict=True))

    def by_autograd(self, training: Entry) -> Results:
        """PyTorch's gradients of an entry with a loss."""
        parameters = dict(self.total.named_parameters())
        loss = to_module(training, parameters)(*(self.inputs[spec.name] for spec in training.inputs))[0]
        found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        return _by_parameter({f"grad:{name}": value for name, value in zip(parameters, found, strict=True)})


def _double(calls: Calls) -> Calls:
    made: Calls = copy.deepcopy(calls).double()
    made.inputs = {name: x.double() if x.is_floating_point() else x for name, x in made.inputs.items()}
    return made


def results(calls: Calls) -> Results:
    """By name."""
    return dict(zip(calls.outputs, calls(**calls.inputs), strict=True))


def gradients(calls: Calls) -> Results:
    """Of the total, by all parameters."""
    loss, names = Total(calls)(**calls.inputs)[0], [*calls.floats]
    found = torch.autograd.grad(loss, [*calls.floats.values()], allow_unused=True)
    return dict(zip(names, found, strict=True))


def smallest(entry: Entry) -> Entry:
    """As an engine gets it that has what has no expansion, and no more."""
    return entry_of(expand(entry, SMALLEST)[0], entry.name)


def known(entry: Entry) -> Entry:
    """The same.

    Raises:
        Missing: an operator is not of the closed set.
    """
    if missing := entry.operators() - OPERATORS.keys():
        raise Missing(", ".join(sorted(missing)))
    return entry


def _complete(entry: Entry, inputs: Mapping[str, Tensor]) -> Entry:
    entry._arrays["inputs"] = {spec.name: inputs[spec.name].numpy() for spec in entry.inputs}
    return entry


def _by_parameter(results: Results) -> Results:
    return {name.rpartition(".")[2]: value for name, value in results.items() if name.startswith("grad:")}


def _off(right: Tensor, result: Tensor) -> float:
    """The largest difference; of what is not finite it is none where both are the same."""
    wide, found = right.double(), result.double()
    same = (wide == found) | (wide.isnan() & found.isnan())
    off = torch.where(same, 0.0, (wide - found).abs())
    return float(off[off.isfinite()].max()) if off.isfinite().any() else 0.0


def _wrong(expected: Mapping[str, tuple[Tensor, float]], actual: Results, kind: str = "") -> list[str]:
    found = []
    for name, (right, limit) in expected.items():
        result = actual.get(name)
        result = torch.zeros_like(right) if result is None and kind else result
        if result is None or (right.shape, right.dtype) != (result.shape, result.dtype):
            made = None if result is None else f"{result.dtype}{list(result.shape)}"
            found.append(f"{kind}{name}: {made} in place of {right.dtype}{list(right.shape)}")
            continue
        close = torch.isclose(result.detach().double(), right.double(), rtol=0, atol=limit, equal_nan=True)
        if not close.all():
            at = tuple((~close).nonzero()[0].tolist())
            found.append(f"{kind}{name} at {[*at]}: {result[at].item():.6g} in place of {right[at].item():.6g}")
    return found
