"""Tests of entries: what fails while one is made costs that entry, and the others go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from tests.prepared import Made
from torch import Tensor, nn

from pytest_inferena import Case
from pytest_inferena.prepare.attempts import Attempts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FORWARD = {"inference": "pass", "latency": "pass"}
X = torch.linspace(-1, 1, 8).reshape(2, 4)


class Net(nn.Module):
    """A layer, with what a test makes of it."""

    def __init__(self, end: Callable[[Tensor], Any] = lambda y: y) -> None:
        super().__init__()
        self.linear, self.end = nn.Linear(4, 4), end

    def forward(self, x: Tensor) -> Any:
        """Whatever it is."""
        return self.end(self.linear(x))


class Free(nn.Module):
    """No parameters."""

    def forward(self, x: Tensor) -> Tensor:
        """A function."""
        return x * 2


def mean(y: Tensor) -> Tensor:
    """A loss."""
    return y.float().mean()


TRAINS_NOT: dict[str, tuple[nn.Module, Callable[..., Any], str]] = {
    "frozen": (Net().requires_grad_(requires_grad=False), mean, "nothing is to be trained: no parameter"),
    "no parameters": (Free(), mean, "nothing is to be trained: the model has no parameters"),
    "integers": (Net(lambda y: y.argmax(-1)), mean, "nothing is to be trained: the loss has no gradient"),
    "detached": (Net(), lambda y: y.detach().mean(), "nothing is to be trained: the loss has no gradient"),
    "raises": (Net(), lambda y: y @ torch.ones(3), "the loss itself raises RuntimeError: "),
    "branches": (Net(), lambda y: y.mean() if y.sum() > 0 else y.sum(), "branches on the value of a tensor"),
    "rows": (Net(), lambda y: y.mean(-1), "the loss has shape"),
    "number": (Net(), lambda y: y.mean().item(), "the loss is a number and no tensor"),
    "infinite": (Net(), lambda y: y.mean() / 0.0, "loss is not finite in float64"),
    "no backward": (
        Net(lambda y: torch.special.gammainc(y.abs() + 1, torch.ones(4))), mean, "the derivative for 'igamma: input'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TRAINS_NOT)
def test_training_fails_alone(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inference and latency of such a model run; its training says why it has none."""
    module, loss, message = TRAINS_NOT[name]
    made = Made(Case(module, {"x": X}, {"x": X[:1]}, {}, loss), tmp_path, monkeypatch)

    assert ["training"] == list(made.failed)
    assert message in made.failed["training"]
    assert FORWARD == made.verdicts()
    assert not list(tmp_path.glob("*training*"))


def test_latency_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its input does not fit."""
    made = Made(Case(Net(), {"x": X}, {"x": X[:1, :3]}, {}, mean), tmp_path, monkeypatch)

    assert ["latency"] == list(made.failed)
    assert {"inference": "pass", "training": "pass", "joint": "pass"} == made.verdicts()


def test_inference_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its output is no number, and what is trained does not see that."""
    case = Case(Net(lambda y: (y, y / 0.0)), {"x": X}, {"x": X}, {}, lambda y, _: y.mean())
    made = Made(case, tmp_path, monkeypatch)

    assert ["inference", "latency"] == sorted(made.failed)
    assert {"training": "pass", "joint": "pass"} == made.verdicts()


def test_graph_without_gradients_costs_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Complex numbers inside: whatever the gradient graph becomes, the other entries are judged."""
    module = Net(lambda y: torch.fft.irfft(torch.fft.rfft(y, n=16) * 2, n=16)[..., :4])
    made = Made(Case(module, {"x": X}, {"x": X[:1]}, {}, mean), tmp_path, monkeypatch)

    assert {**FORWARD, "training": "pass", "joint": "pass"} == made.verdicts()


def test_failure_of_all_is_the_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept then, and the next session tries again."""
    with pytest.raises(ValueError, match=r"test_entries\.py:\d+ .*: the forward itself raises RuntimeError"):
        Made(Case(Net(), {"x": X[:, :3]}, {"x": X[:, :3]}, {}, mean), tmp_path, monkeypatch)


@pytest.mark.parametrize(
    "error", [OSError(28, "full"), MemoryError("full"), RuntimeError("can't allocate memory: full")]
)
def test_lack_of_room_is_no_failure_of_an_entry(error: Exception) -> None:
    """It is told as such, and nothing is kept of it: the next session may have more."""
    attempts = Attempts()
    with pytest.raises(type(error), match="full"), attempts.at("training"):
        raise error

    assert {} == attempts.failed


@torch.library.custom_op("tests_entries::relu", mutates_args=())  # type: ignore[untyped-decorator]
def twice(x: Tensor) -> Tensor:
    """An operator of a user's, whose name ATen has too."""
    return x * 2


@twice.register_fake  # type: ignore[untyped-decorator]
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


twice.register_autograd(lambda _, gradient: gradient * 2)


def test_operators_of_others_keep_their_namespace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are not taken for ATen's, PyTorch runs them, and others name them; the Program says what registers them."""
    module = Net(lambda y: twice(y))  # noqa: PLW0108 - what registers an operator cannot be copied, a function can
    made = Made(Case(module, {"x": X}, {"x": X[:1]}, {}, mean), tmp_path, monkeypatch)
    node = made.program.entry("inference").nodes[-1]

    assert ("tests_entries::relu", "tests_entries::relu") == (node.operator, node.title)
    assert {**FORWARD, "training": "pass", "joint": "pass"} == made.verdicts()
    assert made.program.custom is not None
    assert ["tests_entries"] == made.program.custom["namespaces"]


class Twice(Net):
    """One output is there only with labels, as a second loss of some models is, and one depends on them."""

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Any:
        """Logits, and what labels change."""
        y = self.linear(x)
        if labels is None:
            return {"logits": y, "shown": y}
        loss = (y - labels).square().mean()
        return {"loss": loss, "logits": y, "mean_loss": loss * 1, "shown": y + labels}


def test_outputs_that_need_targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inference gives what the module gives without targets."""
    made = Made(Case(Twice(), {"x": X}, {"x": X[:1]}, {"labels": X * 2}, "loss"), tmp_path, monkeypatch)

    assert {} == made.failed
    assert {"logits", "shown"} == {*made.program.entry("inference").outputs}
    assert {**FORWARD, "training": "pass", "joint": "pass"} == made.verdicts()
