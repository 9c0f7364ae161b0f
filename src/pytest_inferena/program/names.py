"""Names: in an entry no two tensors share one, whatever a user calls what.

Parameters keep the names of their checkpoint, inputs, targets and outputs those of the case. Only where two are the
same, the later one says what it is: `input:scale`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn

LOSS = "loss"
GRADIENT = "grad:"


def distinct(wanted: Iterable[str], taken: Iterable[str], role: str) -> list[str]:
    """Names for tensors of a role, none of them among those that others have."""
    known, found = set(taken), list[str]()
    for name in wanted:
        new = f"{role}:{name}" if name in known or name.startswith(GRADIENT) else name
        while new in known:
            new += "_"
        known.add(new)
        found.append(new)
    return found


def parameters_of(module: nn.Module) -> dict[str, nn.Parameter]:
    """A module's parameters by their names in the Program; tied ones have their first name only."""
    found = dict(module.named_parameters())
    names = [_outside(name, found) for name in found]
    return dict(zip(distinct(names, {LOSS}, "parameter"), found.values(), strict=True))


def _outside(name: str, names: Iterable[str]) -> str:
    """A parameter that its module holds in another form, such as complex numbers as pairs, by its own name."""
    held, _, last = name.rpartition(".")
    if last != "original0" or f"{held}.original1" in names:
        return name
    owner, _, attribute = held.rpartition("parametrizations.")
    return owner + attribute


def heads(names: Iterable[str]) -> set[str]:
    """Names, and what they begin with: a node of such a name could give one of its results the same name."""
    return {name[:end] for name in names for end in (len(name), *(at for at, c in enumerate(name) if c in ".~"))}
