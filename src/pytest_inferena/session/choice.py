"""What a test of one's own measures: what its call says, else `parametrize`, the marker, the session's options."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_inferena.cell import DEFAULTS, INPUTS, METRICS
from pytest_inferena.collect.misuse import KINDS, ChoiceError, check, marked, nearest
from pytest_inferena.collect.model import Model
from pytest_inferena.collect.settings import WEIGHTS, count_of, threads_of
from pytest_inferena.collect.source import Source
from pytest_inferena.collect.target import Target
from pytest_inferena.ranges import RangeError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    import pytest

    from pytest_inferena.cell import Cell
    from pytest_inferena.collect.registry import Registry
    from pytest_inferena.collect.settings import Settings
    from pytest_inferena.engines.framework import Backend, Framework

SIZES = ("full", "tiny")


@dataclass(frozen=True)
class Choice:
    """What is measured, and how."""

    target: Target
    cell: Cell
    settings: Settings


def wanted(item: pytest.Item, given: Mapping[str, Any]) -> dict[str, Any]:
    """All that a test has chosen. What is parametrised is in its name, so it comes before the marker.

    Raises:
        ChoiceError: a value is of the wrong type.
    """
    params = getattr(item, "callspec", None)
    varied = {name: value for name, value in (params.params if params else {}).items() if name in KINDS}
    said = {name: value for name, value in given.items() if value is not None}
    for name, value in said.items():
        check(name, value, "measure")
    for name in varied.keys() - said.keys():
        check(name, varied[name], "parametrize")
    return {**marked(item), **varied, **said}


def choose(found: Mapping[str, Any], registry: Registry, settings: Settings, folder: Path) -> Choice:
    """Look up what was chosen.

    Args:
        found: what a test has chosen, by the names of `KINDS`.
        registry: models and engines by name.
        settings: the session's, for what was not chosen.
        folder: the test's, where relative paths begin.

    Raises:
        ChoiceError: something that is needed was not chosen, or there is no such thing.
    """
    model = _model(found.get("model"), registry, folder)
    try:
        batch, seq = (count_of(name, found[name]) if name in found else None for name in ("batch", "seq"))
        threads = threads_of("threads", found.get("threads", settings.threads))
    except RangeError as error:
        raise ChoiceError(str(error)) from None
    inputs = _one_of("inputs", found.get("inputs", DEFAULTS["inputs"]), INPUTS)
    target = Target(model, *_engine(found.get("framework"), registry), batch=batch, seq=seq, inputs=inputs)
    metric = _one_of("metric", found.get("metric", "inference"), METRICS)
    settings = replace(
        settings,
        size=_one_of("size", found.get("size", settings.size), SIZES),
        weights=_weights(found["weights"], folder) if "weights" in found else settings.weights,
        threads=threads,
    )
    return Choice(target, settings.cell(target, metric), settings)


def _one_of(name: str, value: str, known: Collection[str]) -> str:
    if value not in known:
        raise ChoiceError(f"no {name} is named {value!r}; {nearest(value, known)}there are {', '.join(known)}")
    return value


def _model(given: str | Path | None, registry: Registry, folder: Path) -> Model:
    if given is None:
        raise ChoiceError(
            'no model was chosen: inferena.measure("my_net.py", …) or @pytest.mark.inferena(model="my_net.py"); '
            "a path begins in the test's folder"
        )
    if isinstance(given, str) and not re.search(r":|\.(py|pt2)$", given):
        if given not in registry.models:
            there = f"there are {', '.join(registry.models)}; " if registry.models else ""
            raise ChoiceError(
                f"no model is named {given!r}; {nearest(given, registry.models)}{there}a model's file ends in .py"
            )
        return registry.models[given]
    try:
        model = Model.of(Source.parse(str(given), folder))
    except OSError as error:
        raise ChoiceError(f"{error.filename}: {error.strerror}; the path of a model begins in {folder}") from error
    except ValueError as error:
        raise ChoiceError(str(error)) from error
    namesake = registry.models.get(model.name, model)
    if namesake.source != model.source:
        raise ChoiceError(f"two models are named {model.name!r}: {namesake.source} and {model.source}; rename one")
    return namesake


def _engine(given: str | None, registry: Registry) -> tuple[Framework, Backend]:
    if given is None:
        raise ChoiceError('no engine was chosen: inferena.measure(…, framework="my_engine") or by the marker')
    name, dash, backend = given.partition("-")
    framework = registry.frameworks[_one_of("framework", name, registry.frameworks)]
    named = {f"{name}-{one.name}": one for one in framework.backends}
    if dash:
        return framework, named[_one_of("framework", f"{name}-{backend}", named)]
    usual = [one for one in framework.backends if one.device == "cpu" and not one.tuned] or framework.backends
    if len(usual) > 1:
        raise ChoiceError(f"framework {name!r} has several backends; name one: {', '.join(named)}")
    return framework, usual[0]


def _weights(given: str | Path, folder: Path) -> str:
    if given in WEIGHTS:
        return str(given)
    path = (folder / given).resolve()
    if not path.exists():
        raise ChoiceError(f"weights {given!r}: no such file or folder; {', '.join(WEIGHTS)}, or a path from {folder}")
    return str(path)
