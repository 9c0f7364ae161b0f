"""One way of calling a case's module, as a module of tensors alone: what is captured is what golden comes from."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from pytest_inferena.prepare.structure import OUTPUT, called, replaced, returned, tensors
from pytest_inferena.program.graph import NotExportable
from pytest_inferena.program.names import LOSS, distinct, parameters_of
from pytest_inferena.program.places import blaming

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_inferena.prepare.case import Case


class Call(nn.Module):
    """The tensors of an entry's inputs, and of its targets, to those of its outputs; in training the loss is first."""

    def __init__(self, module: nn.Module, case: Case, entry: str) -> None:
        super().__init__()
        self.case_module, self.case, self.trains = module, case, entry == "training"
        self.inputs = case.latency if entry == "latency" else case.inputs
        self.targets: Mapping[str, Any] = case.targets if self.trains else {}
        self._seen = SimpleNamespace(outputs=())  # torch.export puts attributes, lists too, back as they were

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the outputs, known once it was called."""
        found: tuple[str, ...] = self._seen.outputs
        return found

    def tensors(self) -> dict[str, Tensor]:
        """What to call it with, by the names that the Program gives them."""
        inputs, targets = tensors(self.inputs), tensors(self.targets)
        names = distinct(inputs, {LOSS, *parameters_of(self.case_module)}, "input")
        names += distinct(targets, {LOSS, *parameters_of(self.case_module), *names}, "target")
        return dict(zip(names, [*inputs.values(), *targets.values()], strict=True))

    def forward(self, *values: Tensor) -> tuple[Tensor, ...]:
        """The tensors in the order of `tensors` to the outputs in the order of `outputs`.

        Raises:
            NotExportable: the case names another number of outputs, or the loss is no scalar.
        """
        given = iter(values)
        own = self.case.loss if self.trains and isinstance(self.case.loss, str) else ""
        with blaming("the forward", type(self.case_module).forward):
            arguments = replaced(dict(self.inputs), given)
            targets = replaced(dict(self.targets), given)
            found = returned(called(self.case_module, arguments | (targets if own else {})))
            loss = found.pop(own, None)
            self._seen.outputs = self._named(found)
        if not self.trains:
            return tuple(found.values())
        with blaming("the loss", self.case.loss):
            if callable(self.case.loss):
                loss = self.case.loss(*found.values(), **targets)
            if own and loss is None:
                raise NotExportable(f"the forward returns no {own}, only {', '.join(found)}; name what is the loss")
            if not isinstance(loss, Tensor):
                raise NotExportable("the loss is a number and no tensor; return the tensor, without .item()")
            if loss.shape != ():
                raise NotExportable(f"the loss has shape {tuple(loss.shape)}; reduce it to a scalar")
        return (loss, *found.values())

    def _named(self, found: Mapping[str, Tensor]) -> tuple[str, ...]:
        """The names that the case gives; where it gives none, the paths in what is returned."""
        names = self.case.outputs
        if names in {(), (OUTPUT,)}:
            names = tuple(found)
        if len(names) != len(found):
            raise NotExportable(
                f"the forward returns {_count(len(found))} ({', '.join(found)}) and `outputs` names "
                f"{len(names)}: {', '.join(names)}; name each of them, or leave `outputs` out"
            )
        if len({*names}) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise NotExportable(f"`outputs` names {twice} twice; give each output a name of its own")
        values = {**self.case.inputs, **self.case.latency, **self.case.targets}
        return tuple(distinct(names, {*parameters_of(self.case_module), *tensors(values)}, OUTPUT))


def _count(number: int) -> str:
    return "1 tensor" if number == 1 else f"{number} tensors"
