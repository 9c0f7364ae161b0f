"""What a module takes and returns: tensors alone, or in lists, dicts, dataclasses and whatever PyTorch can flatten.

Engines know tensors by name. So each has the path that leads to it: `logits`, `hidden.0`, `past.1.0`. Numbers,
strings and None are no tensors, and stay what they are. A complex tensor is known as a real one, with a last
dimension of 2 for the real and the imaginary part.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

import torch
from torch.utils import _pytree as pytree

from pytest_inferena.program.graph import NotExportable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor, nn

OUTPUT = "output"
"""What is returned without a name of its own."""


def tensors(value: Any, path: str = "") -> dict[str, Tensor]:
    """All tensors in a value by path, in order; two paths that read the same get a number each.

    Raises:
        NotExportable: there is an object in it that nobody can look into.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in _leaves(value, path):
        number, unique = 1, name
        while unique in found:
            number, unique = number + 1, f"{name}#{number + 1}"
        found[unique] = torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
    return found


def returned(value: Any) -> dict[str, Tensor]:
    """The tensors that a module returns, by path; one without any name of its own is `output`.

    Raises:
        NotExportable: there is an object in it that nobody can look into, or no tensor.
    """
    named = isinstance(value, Mapping) or dataclasses.is_dataclass(value) or hasattr(value, "_fields")
    found = tensors(value, "" if named else OUTPUT)
    if not found:
        raise NotExportable(f"the forward returns no tensor but {value!r:.80}; return what engines have to compute")
    return {OUTPUT: next(iter(found.values()))} if len(found) == 1 and not named else found


def replaced(value: Any, new: Iterator[Tensor]) -> Any:
    """The same structure with other tensors, taken in the order of `tensors`."""
    if isinstance(value, torch.Tensor):
        other = next(new)
        return torch.view_as_complex(other.contiguous()) if value.is_complex() else other
    parts = _parts(value)
    if not parts:
        return value
    children = [replaced(child, new) for _, child in parts]
    if isinstance(value, MutableMapping):
        made = copy.copy(value)
        made.update(zip(value, children, strict=True))
        return made
    if dataclasses.is_dataclass(value):
        other = copy.copy(value)
        for (name, _), child in zip(parts, children, strict=True):
            object.__setattr__(other, name, child)
        return other
    if hasattr(value, "_fields"):
        return type(value)(*children)
    if isinstance(value, list | tuple):
        return type(value)(children)
    node = pytree.SUPPORTED_NODES[type(value)]
    return node.unflatten_fn(children, node.flatten_fn(value)[1])


def called(module: nn.Module, arguments: Mapping[str, Any]) -> Any:
    """What a module returns for its arguments by name; those that it takes by position only are given so."""
    keywords = dict(arguments)
    positional: list[Any] = []
    for name, kind in _by_position(module, arguments):
        value = keywords.pop(name)
        positional += value if kind is inspect.Parameter.VAR_POSITIONAL else [value]
    return module(*positional, **keywords)


def to_eval(module: nn.Module) -> None:
    """Put a module into eval mode, also where a part of it is an exported program, which is in none."""
    try:
        module.eval()
    except NotImplementedError:
        for part in module.modules():
            part.training = False


def _by_position(module: nn.Module, arguments: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Arguments that have to be given by position, with their kind."""
    kinds = {name: parameter.kind for name, parameter in inspect.signature(module.forward).parameters.items()}
    if (spec := getattr(module, "_in_spec", None)) is not None:  # an exported program takes them as it was traced
        by_name = set(spec.child(1).context or ())
        kinds = {name: inspect.Parameter.POSITIONAL_ONLY for name in arguments if name not in by_name}
    forced = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL}
    given = [name for name in kinds if name in arguments]
    last = max((at for at, name in enumerate(given) if kinds[name] in forced or name == "self"), default=-1)
    for name in given[: last + 1]:
        yield name, kinds[name]


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, torch.Tensor):
        yield path or OUTPUT, value
        return
    parts = _parts(value)
    if parts is None and not isinstance(value, bool | int | float | complex | str | bytes | torch.dtype | torch.device):
        where = f" as {path}" if path else ""
        raise NotExportable(
            f"{type(value).__name__}{where} is no tensor, and PyTorch cannot look into it; return or take tensors, or "
            "lists, dicts and dataclasses of them (transformers: use_cache=False)"
        )
    for name, child in parts or ():
        yield from _leaves(child, f"{path}.{name}" if path else name)


def _parts(value: Any) -> list[tuple[str, Any]] | None:
    """What a structure consists of; None if it is no structure."""
    if value is None:
        return []
    if isinstance(value, Mapping):
        return [(str(key), child) for key, child in value.items()]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return list(zip(value._fields, value, strict=True))
    children: Iterable[Any] | None = value if isinstance(value, list | tuple) else None
    if type(value) in pytree.SUPPORTED_NODES and children is None:
        children = pytree.SUPPORTED_NODES[type(value)].flatten_fn(value)[0]
    return None if children is None else [(str(at), child) for at, child in enumerate(children)]
