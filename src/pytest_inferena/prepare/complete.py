"""What a case leaves out is found out: names of inputs, the first element of a batch, targets, units, numbers."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._pytree import tree_map

from pytest_inferena.prepare.case import squared_error
from pytest_inferena.prepare.real import hold_pairs
from pytest_inferena.prepare.smooth import smoothed
from pytest_inferena.prepare.structure import called, returned, tensors, to_eval
from pytest_inferena.program.names import parameters_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pytest_inferena.collect.model import Model
    from pytest_inferena.prepare.case import Case


def complete(case: Case, *, smooth: bool = False) -> Case:
    """Fill in what a case leaves out: names of inputs, those of entry `latency`, and targets of the usual loss.

    Complex parameters become real ones.

    Args:
        case: the model with its inputs.
        smooth: whether its inputs are to be smooth ones.

    Raises:
        Unsupported: they cannot be.
    """
    hold_pairs(case.module)
    case.inputs = _by_name(case.module, case.inputs)
    case.latency = None if case.latency is None else _by_name(case.module, case.latency)
    if smooth:
        case.inputs = smoothed(case.inputs)
        case.latency = None if case.latency is None else smoothed(case.latency, strict=False)
    case.latency = _first(case.inputs) if case.latency is None else case.latency
    if case.loss is squared_error and not case.targets:
        case.targets = {"target": _targets(case)}
        if not case.targets["target"]:
            case.loss = None
    return case


def found_out(case: Case, model: Model, *, usual: bool = True) -> dict[str, Any]:
    """What nobody said about a model, for who reads its results; empty where everything was said.

    Args:
        case: the model with its inputs.
        model: what was said.
        usual: whether batch and length are the model's own: of those the number of items was said.
    """
    if model.unit and model.items and model.parameters and usual:
        return {}
    inputs = tensors(case.inputs)
    main = next(iter(inputs.values()), None)
    is_text = main is not None and main.ndim == 2 and not main.is_floating_point()
    is_image = main is not None and main.ndim == 4 and main.is_floating_point()
    unit = (model.unit if usual else "") or ("token" if is_text else "image" if is_image else "sample")
    items = 1 if main is None or not main.ndim else main.numel() if unit == "token" else len(main)
    shapes = (f"{name} {tuple(x.shape)} {str(x.dtype).removeprefix('torch.')}" for name, x in inputs.items())
    return {
        "module": type(case.module).__name__,
        "parameters": model.parameters or sum(parameter.numel() for parameter in parameters_of(case.module).values()),
        "inputs": ", ".join(shapes),
        "loss": _loss(case),
        **({"revision": case.revision} if case.revision else {}),
        "unit": unit,
        "items": (model.items if usual else 0) or items,
    }


def _loss(case: Case) -> str:
    if case.loss is None:
        return "none"
    if isinstance(case.loss, str):
        return f"its own, of {', '.join(case.targets)}"
    return "mean squared error against a fixed target" if case.loss is squared_error else "the case's"


def _by_name(module: nn.Module, inputs: Any) -> dict[str, Any]:
    """Inputs by the names of the forward's arguments.

    Raises:
        ValueError: the forward takes others.
    """
    if isinstance(inputs, Mapping):
        return dict(inputs)
    values = inputs if isinstance(inputs, tuple | list) else (inputs,)
    try:
        return dict(inspect.signature(module.forward).bind(*values).arguments)
    except TypeError as error:
        raise ValueError(f"the forward of {type(module).__name__} does not take these inputs: {error}") from error


def _first(inputs: dict[str, Any]) -> dict[str, Any]:
    """The first element of the batch, which is the first dimension that the tensors share."""
    sizes = {len(x) for x in tensors(inputs).values() if x.ndim}
    batch = next((len(x) for x in tensors(inputs).values() if x.ndim), 1)
    if batch == 1 or not sizes:
        return inputs

    def cut(value: Any) -> Any:
        is_one = isinstance(value, torch.Tensor) and value.ndim and len(value) == batch
        return value[:1].clone() if is_one else value

    return {name: tree_map(cut, value) for name, value in inputs.items()}


def _targets(case: Case) -> list[Tensor]:
    """Normal numbers, the same in every run, in the shapes of the outputs; none where the forward fails."""
    to_eval(case.module)
    try:
        with torch.no_grad():
            outputs = returned(called(case.module, case.inputs)).values()
    except Exception:  # noqa: BLE001 - a model's code may raise anything; who captures it says what is wrong
        return []
    random = torch.Generator().manual_seed(0)
    return [torch.randn(output.shape, generator=random) for output in outputs if output.is_floating_point()]
