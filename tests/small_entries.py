"""Entries of one operator or of several, made of the cases in operator_cases.py, and what PyTorch makes of them."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pytest_inferena.worker.aten import to_module
from pytest_inferena.worker.format import Entry, Node, Ref, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.tensor_cases import Case

PARAMETERS = frozenset({"weight", "bias"})
CONSTANTS = frozenset({"running_mean", "running_var", "attn_mask", "cos", "sin"})
RESULTS = {"fft": 2, "rfft": 2, "max_pool2d_with_indices": 2, "native_layer_norm": 3}
"""Operators that make more than one tensor."""


def spec(name: str, tensor: Tensor) -> TensorSpec:
    """Of a tensor."""
    return TensorSpec(name, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))


@dataclasses.dataclass
class Small:
    """An entry under construction: where its tensors come from, as they do in a model, goes by arguments' names."""

    name: str = "inference"
    inputs: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    parameters: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    constants: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    nodes: list[Node] = dataclasses.field(default_factory=list)
    made: dict[str, Tensor] = dataclasses.field(default_factory=dict)

    def refer(self, operator: str, argument: str, value: Any) -> Any:
        """An argument with its tensors kept and named."""
        if isinstance(value, list):
            return [self.refer(operator, argument, item) for item in value]
        if not isinstance(value, Tensor):
            return value
        trained = self.name == "training" and value.is_floating_point()
        if argument in CONSTANTS or (operator, argument) == ("cross_entropy_loss", "weight"):
            kind, place = "constant", self.constants
        elif argument in PARAMETERS or trained:
            kind, place = "parameter", self.parameters
        else:
            kind, place = "input", self.inputs
        name = f"{kind}_{len(place)}"
        value = value.clone().contiguous()
        place[name] = torch.nn.Parameter(value) if kind == "parameter" else value
        return Ref(name)

    def add(self, operator: str, arguments: Mapping[str, Any]) -> list[str]:
        """One more node, and the names of what it makes."""
        names = [f"out_{len(self.made) + index}" for index in range(RESULTS.get(operator, 1))]
        referred = {name: self.refer(operator, name, value) for name, value in arguments.items()}
        node = Node(operator, referred, tuple(TensorSpec(name, (), "float32") for name in names))
        self.nodes.append(node)
        read = {name: value for name, value in self.values().items() if name in node.inputs()}
        alone = Entry("inference", tuple(spec(*item) for item in read.items()), (), (), (node,), {n: n for n in names})
        alone._arrays["constants"] = {}
        results = to_module(alone, {})(*read.values())
        self.made |= dict(zip(names, results, strict=True))
        self.nodes[-1] = dataclasses.replace(node, outputs=tuple(spec(name, self.made[name]) for name in names))
        return names

    def values(self) -> dict[str, Tensor]:
        """All tensors by name."""
        return self.inputs | self.parameters | self.constants | self.made

    def entry(self, outputs: dict[str, str]) -> Entry:
        """The entry, whole."""
        specs = {name: spec(name, value) for name, value in self.values().items()}
        made = Entry(
            self.name, tuple(specs[name] for name in self.inputs), tuple(sorted(self.parameters)),
            tuple(specs[name] for name in self.constants), tuple(self.nodes), outputs, specs=specs,
        )  # fmt: skip
        made._arrays["inputs"] = {name: value.numpy() for name, value in self.inputs.items()}
        made._arrays["constants"] = {name: value.numpy() for name, value in self.constants.items()}
        return made


def forward(cases: Mapping[str, Case]) -> tuple[Small, Entry, dict[str, Tensor]]:
    """Every case a node; results are named after cases, `NAME` or `NAME:INDEX`."""
    small, outputs = Small(), dict[str, str]()
    for name, case in cases.items():
        results = small.add(*case)
        outputs |= {name if len(results) == 1 else f"{name}:{at}": result for at, result in enumerate(results)}
    return small, small.entry(outputs), {name: small.made[result] for name, result in outputs.items()}


def training(cases: Mapping[str, Case]) -> tuple[Small, Entry, dict[str, Tensor]]:
    """A loss that depends on each element of each case's result, and its gradients by all floating arguments.

    They are called `NAME:PARAMETER` here; parameters that have none are left out.
    """
    small, owner, total = Small("training"), dict[str, str](), Ref("")
    for name, case in cases.items():
        before = set(small.parameters)
        result = small.add(*case)[0]
        owner |= dict.fromkeys(small.parameters.keys() - before, name)
        total = small_sum(small, result, total)
    entry = small.entry({"loss": total.name})
    trained = {name: torch.nn.Parameter(value.detach()) for name, value in small.parameters.items()}
    loss = to_module(entry, trained)(*small.inputs.values())[0]
    found = torch.autograd.grad(loss, list(trained.values()), allow_unused=True)
    gradients = {
        f"{owner[name]}:{name}": value for name, value in zip(trained, found, strict=True) if value is not None
    }
    return small, entry, {"loss": loss.detach(), **gradients}


def small_sum(small: Small, result: str, total: Ref) -> Ref:
    """Every element by a weight of its own, added to what there is."""
    size = math.prod(small.made[result].shape)
    ramp = f"constant_{len(small.constants)}"
    small.constants[ramp] = torch.linspace(-1, 1.5, size)
    flat = small.add("reshape", {"self": Ref(result), "shape": [size]})[0]
    weighted = small.add("mul", {"self": Ref(flat), "other": Ref(ramp)})[0]
    added = small.add("sum", {"self": Ref(weighted), "dim": [0], "keepdim": False})[0]
    return Ref(small.add("add", {"self": total, "other": Ref(added)})[0]) if total.name else Ref(added)


def differentiable(cases: Mapping[str, Case]) -> Iterator[str]:
    """The cases whose first result has a gradient by one of its arguments."""
    for name, case in cases.items():
        small = Small("training")
        result = small.made[small.add(*case)[0]]
        if result.is_floating_point() and small.parameters and case[0] not in {"detach", "floor_divide"}:
            yield name
