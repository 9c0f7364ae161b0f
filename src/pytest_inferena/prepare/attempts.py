"""What fails while a model is prepared costs its own entry, and is that entry's reason."""

from __future__ import annotations

import contextlib
import traceback
from typing import TYPE_CHECKING

from pytest_inferena.program.graph import NotExportable
from pytest_inferena.program.names import parameters_of
from pytest_inferena.program.places import placed
from pytest_inferena.store.disk import is_full
from pytest_inferena.worker.format import Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from pytest_inferena.prepare.case import Case


class Attempts:
    """Everything that was tried for the entries of a model, each by itself."""

    def __init__(self) -> None:
        self.failed: dict[str, dict[str, str]] = {}
        """Entry → `outcome` and `message` of what went wrong first."""
        self.apart = False
        """Whether inference cannot be a part of training, because an output would need the targets."""
        self._errors: dict[str, Exception] = {}

    @contextlib.contextmanager
    def at(self, entry: str) -> Iterator[None]:
        """Whatever is raised inside is the entry's; a lack of disk or memory is the machine's, and nothing to keep."""
        try:
            yield
        except Exception as error:
            if is_full(error) or has_no_room(error):
                raise
            if not isinstance(error, Unsupported | NotExportable):
                traceback.print_exc()
            self._errors.setdefault(entry, error)
            outcome, message = failure(error)
            self.failed.setdefault(entry, {"outcome": outcome, "message": message})

    def require_one(self, entries: tuple[str, ...]) -> None:
        """Raise what went wrong, if it has cost every entry: of the last, which is the one that asks least."""
        if self.failed.keys() >= {*entries}:
            raise self._errors[entries[-1]]


def failure(error: Exception) -> tuple[str, str]:
    """Outcome and message of what was raised by a model, or for it."""
    if isinstance(error, Unsupported):
        return "unsupported", str(error)
    if isinstance(error, NotImplementedError):  # PyTorch's word for an operator without a kernel or a gradient
        return "unsupported", placed(
            f"nobody knows what is right, for PyTorch cannot compute it: {str(error)[:500]}", error
        )
    plain = type(error) in {ValueError, NotExportable}
    return "oom" if has_no_room(error) else "error", placed(
        str(error) if plain else f"{type(error).__name__}: {error}", error
    )


def has_no_room(error: Exception) -> bool:
    """Whether memory was not enough; torch says so in words."""
    return isinstance(error, MemoryError) or "can't allocate memory" in str(error)


def require_trainable(case: Case) -> None:
    """Raise Unsupported for a case without a loss, or without anything to train."""
    if case.loss is None:
        raise Unsupported("nothing is to be trained: the case has no loss")
    parameters = parameters_of(case.module)
    if not parameters:
        raise Unsupported("nothing is to be trained: the model has no parameters")
    if not any(parameter.requires_grad for parameter in parameters.values()):
        raise Unsupported("nothing is to be trained: no parameter of the model has requires_grad")


def require_gradient(loss: Tensor) -> Tensor:
    """A loss that gradients can be derived of.

    Raises:
        Unsupported: it depends on no parameter in a way that has a gradient.
    """
    if not loss.requires_grad:
        raise Unsupported(
            "nothing is to be trained: the loss has no gradient, for it depends on no parameter, or only through "
            "integers, comparisons or detach()"
        )
    return loss
