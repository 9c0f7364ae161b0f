"""Tests of capture: a module becomes an entry that computes the same, or the message says why it cannot."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from tests.programs import captured, inference, operators_behind, run
from tests.zoo import MODELS, model
from torch import Tensor, nn

from pytest_inferena.program.graph import NotExportable

X = {"x": torch.linspace(-1, 1, 12).reshape(3, 4)}


@pytest.mark.parametrize("name", MODELS)
def test_entry_computes_what_the_module_does(name: str) -> None:
    """Outputs of the zoo are the module's, in shape, dtype and value."""
    module, inputs = model(name)
    right = module(**inputs)

    torch.testing.assert_close(run(inference(name), module, inputs)["output"], right, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_nothing_is_computed_that_could_be_a_constant(name: str) -> None:
    """Every operator depends on an input or a parameter, but for the one that fills."""
    entry = inference(name)
    alive = {*entry.parameters, *(spec.name for spec in entry.inputs)}
    dead = []
    for node in entry.nodes:
        if alive.intersection(node.inputs()):
            alive.update(spec.name for spec in node.outputs)
        elif node.operator != "full":
            dead.append(node)

    assert [] == dead


@pytest.mark.parametrize("name", MODELS)
def test_declarations_are_kept(name: str) -> None:
    """Names are unique, inputs and parameters are declared as they are, and nothing is declared that nobody reads."""
    entry, (module, inputs) = inference(name), model(name)
    made = [spec.name for node in entry.nodes for spec in node.outputs]
    names = [*made, *entry.parameters, *(spec.name for spec in (*entry.inputs, *entry.constants))]
    read = {name for node in entry.nodes for name in node.inputs()}

    assert len(set(names)) == len(names)
    assert list(inputs) == [spec.name for spec in entry.inputs]
    assert [str(x.dtype) for x in inputs.values()] == [f"torch.{spec.dtype}" for spec in entry.inputs]
    assert {*entry.parameters} <= {name for name, _ in module.named_parameters()} & read
    assert {spec.name for spec in entry.constants} <= read


def test_an_input_may_be_called_like_a_builtin() -> None:
    """PyTorch itself calls the first argument of its modules `input`."""
    module, inputs = nn.Linear(4, 2), {"input": torch.ones(3, 4)}

    torch.testing.assert_close(run(captured(module, inputs), module, inputs)["output"], module(**inputs))


def test_parameters_are_named_once() -> None:
    """A tied matrix has its first name, a frozen parameter is one, and one that nothing reads is left out."""
    assert ("first.bias", "first.weight", "frozen", "second.bias") == inference("mlp").parameters


def test_buffers_are_constants() -> None:
    """A batch norm's statistics are, with their values."""
    module, _ = model("convnet")
    assert isinstance(module.norm, nn.BatchNorm2d)
    node = next(node for node in inference("convnet").nodes if node.operator == "batch_norm")
    constants = inference("convnet").arrays("constants")

    for name in ("running_mean", "running_var"):
        kept = torch.from_numpy(constants[node.arguments[name].name])
        torch.testing.assert_close(kept, getattr(module.norm, name), rtol=0, atol=0)


class Named(nn.Module):
    """A parameter called like an operator, and several outputs, one of them an input."""

    def __init__(self) -> None:
        super().__init__()
        self.mul, self.add = nn.Parameter(torch.ones(4) * 3), nn.Parameter(torch.ones(4) * 5)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        """Sums of products."""
        return x * self.mul + y, x, self.mul * self.add


class Plain(nn.Module):
    """A function of x."""

    def forward(self, x: Tensor) -> Tensor:
        """Twice it."""
        return x * 2


def test_outputs_are_named_in_their_order() -> None:
    """An output may be an input, and the inputs come in the order in which they are given."""
    inputs, module = {"y": X["x"] + 1, "x": X["x"]}, Named()
    entry = captured(module, inputs, "sum", "same", "product")
    found = run(entry, module, inputs)

    assert ["sum", "same", "product"] == list(entry.outputs)
    assert "x" == entry.outputs["same"]
    for name, right in zip(entry.outputs, module(**inputs), strict=True):
        torch.testing.assert_close(found[name], right, rtol=0, atol=0)


class Padded(nn.Module):
    """An embedding whose first row gets no gradient, and a part that is detached."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(12, 4, padding_idx=0)

    def forward(self, i: Tensor) -> Tensor:
        """(N,) to (N, 4)."""
        rows = self.table(i)
        return rows * rows.detach()


@pytest.mark.parametrize(
    ("trains", "expected"),
    [(False, "embedding mul"), (True, "eq reshape embedding detach where detach mul")],
)
def test_where_no_gradient_may_flow_matters_in_training(*, trains: bool, expected: str) -> None:
    """`detach` and `padding_idx` are spelled out there, and gone from entries that only run forward."""
    module, inputs = Padded(), {"i": torch.tensor([0, 3, 0, 7])}
    entry = captured(module, inputs, trains=trains)
    right = torch.autograd.grad((module(**inputs) ** 3).sum(), module.table.weight)[0]

    assert sorted(expected.split()) == sorted(operators_behind(entry, "output").split())
    if trains:
        found = torch.autograd.grad((run(entry, module, inputs)["output"] ** 3).sum(), module.table.weight)[0]
        torch.testing.assert_close(found, right)


class Refused(Plain):
    """A function that cannot become a Program, by name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)
        self.state = nn.Buffer(torch.zeros(4))
        self.drop = nn.Dropout()
        self.way = getattr(self, name)

    def forward(self, x: Tensor) -> Tensor:
        """What `way` does."""
        return self.way(x)

    def branch(self, x: Tensor) -> Tensor:
        """On values."""
        return x if x.sum() > 0 else -x

    def read(self, x: Tensor) -> Tensor:
        """A number out of a tensor."""
        return x * x.sum().item()

    def choose(self, x: Tensor) -> Tensor:
        """A shape that depends on values."""
        return x[x > 0]

    def noise(self, x: Tensor) -> Tensor:
        """Random numbers."""
        return x + torch.randn(4)

    def noise_like(self, x: Tensor) -> Tensor:
        """Random numbers of a tensor's shape."""
        return x + torch.rand_like(x)

    def dropout(self, x: Tensor) -> Tensor:
        """In training mode whatever the module is in."""
        return F.dropout(x, training=True)

    def in_place(self, x: Tensor) -> Tensor:
        """Changes its input."""
        return x.add_(1)

    def remember(self, x: Tensor) -> Tensor:
        """Changes a buffer."""
        self.state.add_(x[0])
        return x + self.state

    def renorm(self, x: Tensor) -> Tensor:
        """Changes a parameter: rows that are read are made shorter."""
        return F.embedding(x.long(), self.linear.weight, max_norm=1.0)

    def normalise(self, x: Tensor) -> Tensor:
        """By the batch's own statistics, if in training mode."""
        return self.norm(x)

    def drop_out(self, x: Tensor) -> Tensor:
        """If in training mode."""
        return self.drop(x)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("branch", r"test_capture\.py:\d+ \(return x if .*branches on the value of a tensor.*use torch\.where"),
        ("read", r"depends on the values of tensors; compute with tensors of fixed shape: torch\.where .*no \.item"),
        ("choose", r"depends on the values of tensors; compute with tensors of fixed shape: torch\.where"),
        ("noise", r"draws random numbers \(aten\.randn.*make it an input, or leave dropout to modules"),
        ("noise_like", r"draws random numbers \(aten\.rand_like"),
        ("dropout", r"draws random numbers \(aten\.dropout"),
        ("in_place", r"the forward changes the input x in place.*work on a clone\(\)"),
        ("remember", r"the forward changes the buffer state in place.*return its new value as an output"),
        ("renorm", r"the forward changes the parameter linear\.weight in place.*no max_norm"),
    ],
)
def test_refusal_names_the_remedy(name: str, message: str) -> None:
    """One NotExportable says what the module does and what to do instead."""
    with pytest.raises(NotExportable, match=message):
        captured(Refused(name).eval(), X, trains=True)


@pytest.mark.parametrize("name", ["drop_out", "normalise"])
def test_module_in_training_mode_is_refused(name: str) -> None:
    """Dropout draws random numbers there, and batch norm changes its statistics."""
    with pytest.raises(NotExportable, match=r"random numbers|in training mode|in place"):
        captured(Refused(name).train(), X)


class Blind(nn.Module):
    """A parameter that is read twice, once in a region without gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        """The two results, multiplied."""
        with torch.no_grad():
            y = self.linear(x)
        return y * self.linear(x)


def test_no_gradient_flows_out_of_no_grad() -> None:
    """The region is computed, and what it makes is detached."""
    module = Blind()
    results = run(captured(module, X, trains=True), module, X)["output"], module(**X)
    found, right = (torch.autograd.grad(result.sum(), module.linear.weight)[0] for result in results)

    torch.testing.assert_close(*results)
    torch.testing.assert_close(found, right)
