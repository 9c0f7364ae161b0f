"""Tests of the layout pass: what a rewritten entry computes is what it computed before, with few permutes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
import torch
from tests.operator_cases import CASES
from tests.programs import captured, gradients, inference, run, training
from tests.small_entries import forward
from tests.tensor_cases import IMAGE, floats
from tests.zoo import MODELS, model
from torch import Tensor, nn
from torch.nn import functional as F

from pytest_inferena.worker import evaluate
from pytest_inferena.worker.aten import operator, to_module
from pytest_inferena.worker.channels_last import (
    ANCHORS,
    CONVOLUTIONS,
    POOLS,
    ChannelsLast,
    channels_last,
    kernels_first,
    kernels_last,
    last,
)
from pytest_inferena.worker.format import Entry, Node, Ref, TensorSpec, substitute

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ORDERS = {"first": kernels_first, "last": kernels_last}


def undone(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """What was permuted by `dims`."""
    return x.permute(*(dims.index(at) for at in range(len(dims))))


def anchored(name: str, kernels: Callable[[int], tuple[int, ...]]) -> Callable[..., Any]:
    """PyTorch's operator between images (B, …, C)."""

    def function(image: Tensor, *others: Any) -> Any:
        given = [undone(image, last(image.dim())), *others]
        if name in CONVOLUTIONS:
            given[1] = undone(others[0], kernels(image.dim()))
        made = operator(Node(name, {}, ()))(*given)
        results = [result.permute(*last(result.dim())) for result in (made if isinstance(made, tuple) else (made,))]
        return results if len(results) > 1 else results[0]

    return function


class Table(dict[str, Any]):
    """PyTorch's operators, and those of channels last."""

    def __init__(self, kernels: Callable[[int], tuple[int, ...]]) -> None:
        super().__init__()
        self.kernels = kernels

    def get(self, name: str, default: Any = None) -> Any:
        """The function of an operator."""
        del default
        if name.endswith("_channels_last"):
            return anchored(name.removesuffix("_channels_last"), self.kernels)
        return operator(Node(name, {}, ()))


def ran(made: ChannelsLast, kernels: str, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a rewritten entry computes; every tensor has the shape that it is said to have."""
    given = {name: value.detach() for name, value in values.items() if name in made.entry.specs}
    given |= {name: given[name].permute(*dims) for name, dims in made.permuted.items()}
    constants = {name: torch.from_numpy(array) for name, array in made.entry.arrays("constants").items()}
    specs = {**given, **constants}
    assert {} == {n: made.entry.specs[n] for n, v in specs.items() if tuple(v.shape) != made.entry.specs[n].shape}
    return evaluate(made.entry, Table(ORDERS[kernels]), {**given, **constants})


def close(right: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """The same tensors within rounding."""
    assert right.keys() == found.keys()
    for name, value in right.items():
        torch.testing.assert_close(found[name], value.detach(), rtol=2e-5, atol=2e-5)


def with_inputs(entry: Entry, inputs: Mapping[str, Tensor]) -> Entry:
    """The entry, its inputs at hand."""
    entry._arrays["inputs"] = {name: value.numpy() for name, value in inputs.items()}
    return entry


def permutes(made: ChannelsLast) -> int:
    """How many are left."""
    return sum(node.operator == "permute" for node in made.entry.nodes)


@pytest.mark.parametrize("kernels", ORDERS)
@pytest.mark.parametrize("kind", [inference, training, gradients], ids=["inference", "training", "joint"])
@pytest.mark.parametrize("name", MODELS)
def test_models(name: str, kind: Callable[[str], Entry], kernels: str) -> None:
    """A model's results, loss and gradients stay what they were."""
    module, inputs = model(name)
    entry = with_inputs(kind(name), inputs)
    made = channels_last(entry, ORDERS[kernels])
    with torch.no_grad():
        right = run(entry, module, inputs)
    found = ran(made, kernels, {**dict(module.named_parameters()), **inputs})
    largest = max(float(value.abs().max()) for value in right.values())

    close({k: v / largest for k, v in right.items()}, {k: v / largest for k, v in found.items()})


@pytest.mark.parametrize("case", [name for name, (operator, _) in CASES.items() if operator != "full"])
def test_operators_between_convolutions(case: str) -> None:
    """Every operator is right where images that it reads and makes lie with channels last."""
    small, entry, right = forward({"it": CASES[case]})
    around, images = _between_pools(entry)
    made = channels_last(around)
    with torch.no_grad():
        results = to_module(around, small.parameters)(*small.inputs.values())
        found = ran(made, "first", {**small.inputs, **small.parameters})

    close(dict(zip(right, results, strict=True)), found)
    assert images <= sum(node.operator == "upsample_nearest2d_channels_last" for node in made.entry.nodes)


def _between_pools(entry: Entry) -> tuple[Entry, int]:
    """The entry with every image that it reads or makes enlarged to its own size, which changes nothing."""
    nodes, names, specs = list[Node](), dict[str, str](), dict(entry.specs)

    def enlarge(name: str) -> None:
        spec = specs[name]
        if len(spec.shape) == 4 and spec.dtype == "float32" and name not in names and name not in entry.parameters:
            names[name] = f"{name}_enlarged"
            specs[names[name]] = TensorSpec(names[name], spec.shape, spec.dtype)
            size = {"self": Ref(name), "output_size": list(spec.shape[2:])}
            nodes.append(Node("upsample_nearest2d", size, (specs[names[name]],)))

    for node in entry.nodes:
        for name in node.inputs():
            enlarge(name)
        given = {k: substitute(v, lambda n: Ref(names.get(n, n))) for k, v in node.arguments.items()}
        nodes.append(dataclasses.replace(node, arguments=given))
        for spec in node.outputs:
            enlarge(spec.name)
    outputs = {name: names.get(value, value) for name, value in entry.outputs.items()}
    return dataclasses.replace(entry, nodes=tuple(nodes), outputs=outputs, specs=specs), len(names)


class Block(nn.Module):
    """A convolution, a norm, an activation, a residual, a scale for each channel, a pool and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(4, 6, 3, padding=1), nn.Conv2d(6, 6, 1)
        self.norm, self.scale, self.head = nn.GroupNorm(2, 6), nn.Parameter(floats(6, 1, 1)), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 4, H, W) to (B, 3)."""
        first = self.one(x)
        second = F.silu(self.norm(self.two(first))) * self.scale + first
        joined = torch.cat([second, first], 1)[:, 3:9]
        return self.head(F.max_pool2d(joined, 2).mean((2, 3)))


class Patches(nn.Module):
    """A patch embedding, a layer norm over tokens, and back to an image."""

    def __init__(self) -> None:
        super().__init__()
        self.cut, self.norm, self.back = nn.Conv2d(4, 8, 2, 2), nn.LayerNorm(8), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 4, H, W) to (B, 4, H / 2, W / 2)."""
        image = self.cut(x)
        tokens = self.norm(image.flatten(2).transpose(1, 2))
        return self.back(tokens.transpose(1, 2).reshape(image.shape) + image)


@pytest.mark.parametrize(("network", "left"), [(Block, 1), (Patches, 2)])
def test_few_permutes(network: type[nn.Module], left: int) -> None:
    """One for the image that comes in, and one for an image that goes out; weights are permuted beforehand."""
    torch.manual_seed(0)
    module = network().eval()
    entry = with_inputs(captured(module, {"x": IMAGE}), {"x": IMAGE})
    made = channels_last(entry)
    found = ran(made, "first", {**dict(module.named_parameters()), "x": IMAGE})

    assert left == permutes(made)
    assert {name for name, value in module.named_parameters() if value.dim() == 4} == made.permuted.keys()
    close({"output": module(IMAGE)}, found)


def test_weights_and_gradients_turn_back() -> None:
    """What `permute` turns, `restore` turns back; other parameters stay."""
    module = Block()
    made = channels_last(with_inputs(captured(module, {"x": IMAGE}), {"x": IMAGE}), kernels_last)
    weight = module.one.weight.detach().numpy()
    turned = made.permute("one.weight", weight)

    assert ((3, 3, 4, 6), (6, 4, 3, 3)) == (turned.shape, made.restore("one.weight", turned).shape)
    assert (made.restore("one.weight", turned) == weight).all()
    assert made.permute("head.weight", weight) is weight


def test_only_what_the_engine_has() -> None:
    """An anchor that it has for (B, C, H, W) alone keeps its name."""
    made = channels_last(with_inputs(inference("unet"), model("unet")[1]), anchors=ANCHORS - POOLS)
    found = made.entry.operators()

    assert {"conv2d_channels_last", "upsample_nearest2d"} <= found
    assert "conv2d" not in found
