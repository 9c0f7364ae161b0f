"""PyTorch's own samples of its operators, each as a module: what the tests of PyTorch itself call them with."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DTYPES = {"float32": torch.float32, "int64": torch.int64, "bool": torch.bool}
LOOKED_AT, LARGEST = 60, 4096
"""How many samples of an operator are looked at, and how many numbers the tensors of one may hold."""


@dataclass(frozen=True)
class Sample:
    """One call of an operator: its arguments with every tensor taken out."""

    operator: Any
    arguments: tuple[Any, ...]
    """Its tensors in order, between what else it is given."""
    tree: Any

    @property
    def tensors(self) -> list[Tensor]:
        """In the order of the call."""
        return [value for value in self.arguments if isinstance(value, Tensor)]

    def call(self, tensors: Iterable[Tensor]) -> list[Tensor]:
        """Every tensor that comes of it with these tensors in place of its own; of complex numbers the pairs."""
        rest = iter(tensors)
        given = [next(rest) if isinstance(value, Tensor) else value for value in self.arguments]
        args, keywords = pytree.tree_unflatten(given, self.tree)
        found = [value for value in pytree.tree_leaves(self.operator(*args, **keywords)) if isinstance(value, Tensor)]
        return [torch.view_as_real(value.resolve_conj()) if value.is_complex() else value for value in found]

    def shown(self) -> str:
        """Its arguments, tensors by their shapes."""
        given = [list(value.shape) if isinstance(value, Tensor) else value for value in self.arguments]
        args, keywords = pytree.tree_unflatten(given, self.tree)
        return f"{args} {keywords or ''}".strip()

    def kind(self) -> tuple[Any, ...]:
        """What sets it apart from others: what is given, and of how many dimensions."""
        shown = ((value.ndim, value.dtype) if isinstance(value, Tensor) else str(value) for value in self.arguments)
        return (str(self.tree), *shown)


class Calls(nn.Module):
    """Several calls at once: numbers with a gradient are parameters, the other tensors inputs."""

    def __init__(self, samples: list[Sample]) -> None:
        super().__init__()
        self.samples = samples
        self.names = [[f"t{at}_{i}" for i in range(len(sample.tensors))] for at, sample in enumerate(samples)]
        tensors = self._all()
        floats = {name: nn.Parameter(value.detach().clone()) for name, value in tensors.items() if value.requires_grad}
        self.floats = nn.ParameterDict(floats)
        self.inputs = {name: value.detach().clone() for name, value in tensors.items() if name not in floats}
        self.outputs = [f"s{at}.{i}" for at, found in enumerate(self.results(self.inputs)) for i in range(len(found))]

    def _all(self) -> dict[str, Tensor]:
        pairs = zip(self.names, self.samples, strict=True)
        return {name: tensor for names, sample in pairs for name, tensor in zip(names, sample.tensors, strict=True)}

    def results(self, inputs: dict[str, Tensor]) -> list[list[Tensor]]:
        """What each call makes."""
        given = {**dict(self.floats.items()), **inputs}
        return [
            sample.call([given[name] for name in names]) for sample, names in zip(self.samples, self.names, strict=True)
        ]

    def forward(self, **inputs: Tensor) -> tuple[Tensor, ...]:
        """All of it in one tuple."""
        return tuple(itertools.chain.from_iterable(self.results(inputs)))


class Total(nn.Module):
    """Calls behind a number that depends on each element of those results that have a gradient."""

    def __init__(self, calls: Calls) -> None:
        super().__init__()
        self.calls = calls
        results = calls(**calls.inputs)
        self.has = [result.requires_grad and result.is_floating_point() for result in results]
        self.ramps = [_ramp(result.detach()) for result in results]  # attributes, so that nothing of them is exported

    def forward(self, **inputs: Tensor) -> tuple[Tensor, ...]:
        """Every element by a weight of its own, added up; then the results."""
        results = self.calls(**inputs)
        chosen = zip(results, self.ramps, self.has, strict=True)
        sums = [(ramp.to(result.dtype) * result).sum() for result, ramp, has in chosen if has]
        sums += [value.sum() * 0.1 for value in self.calls.floats.values()]  # so that each has a gradient
        return (torch.stack(sums).sum() if sums else torch.zeros(()), *results)


def _ramp(result: Tensor) -> Tensor:
    """From -1 to 1.5, in the result's shape."""
    return torch.linspace(-1, 1.5, result.numel(), dtype=torch.float64).float().reshape(result.shape)


def samples(info: Any, dtype: torch.dtype, most: int) -> list[Sample]:
    """The first samples of an operator that differ in more than their numbers, then others."""
    every = [*itertools.islice(_small(info, dtype), LOOKED_AT)]
    first = {sample.kind(): sample for sample in reversed(every)}
    distinct = [sample for sample in every if first[sample.kind()] is sample]
    rest = [sample for sample in every if first[sample.kind()] is not sample]
    step = max(1, len(distinct) // most)
    return [*distinct[::step], *rest][:most]


def _small(info: Any, dtype: torch.dtype) -> Iterator[Sample]:
    """Without empty tensors, and complex numbers among what is given."""
    torch.manual_seed(0)
    trains = dtype.is_floating_point and info.supports_autograd
    for given in info.sample_inputs("cpu", dtype, requires_grad=trains):
        arguments, tree = pytree.tree_flatten(((given.input, *given.args), given.kwargs))
        sample = Sample(info.op, tuple(arguments), tree)
        sizes = [tensor.numel() for tensor in sample.tensors]
        if not sizes or 0 in sizes or sum(sizes) > LARGEST or any(x.is_complex() for x in sample.tensors):
            continue
        yield sample


def title(info: Any) -> str:
    """As PyTorch's tests name it."""
    return ".".join(filter(None, (info.name, info.variant_test_name)))
