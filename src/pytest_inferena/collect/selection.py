"""Which cells there are and in which order: parameters, markers, `-m`."""

from __future__ import annotations

import difflib
import keyword
import re
import warnings
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from pytest_inferena.cell import METRICS
from pytest_inferena.collect.target import ASKED_FOR, Target

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet

    from pytest_inferena.collect.registry import Registry

_METRICS = frozenset(METRICS)
_MATTER = _METRICS | ASKED_FOR.keys()


def parameters(config: pytest.Config, registry: Registry) -> list[Any]:
    """All targets as pytest parameters, with their ids and markers, which are declared."""
    declare(config, registry)
    return [
        pytest.param(target, id=target.id, marks=[_mark(name) for name in target.marks()])
        for target in registry.targets
    ]


@cache
def _mark(name: str) -> pytest.MarkDecorator:
    mark: pytest.MarkDecorator = getattr(pytest.mark, name)
    return mark


def declare(config: pytest.Config, registry: Registry) -> None:
    """Declare a marker for every metric, model, framework, backend, device and language, beside those of others."""
    there = {*config.getini("markers")}
    for name, description in registry.markers().items():
        if (line := f"{name}: {description}") not in there:
            config.addinivalue_line("markers", line)


def unknown(config: pytest.Config) -> tuple[str, ...]:
    """Names in `-m` that are no marker's."""
    known = {_name(line) for line in config.getini("markers")}
    without_arguments = re.sub(r"\([^()]*=[^()]*\)", "", config.getoption("markexpr"))
    named = dict.fromkeys(re.findall(r"[A-Za-z_][\w.]*", without_arguments))
    return tuple(name for name in named if name not in known and not keyword.iskeyword(name))


def check_expression(config: pytest.Config) -> None:
    """Warn of an unknown name in `-m`, which selects nothing, as pytest does of unknown markers.

    Raises:
        pytest.UsageError: markers are strict, or warnings errors.
    """
    for name in unknown(config):
        near = difflib.get_close_matches(name, map(_name, config.getini("markers")), 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        expression = config.getoption("markexpr")
        message = f"-m {expression!r}: no marker is named {name!r}; {hint}'pytest --markers' lists them"
        strict = config.getini("strict_markers")
        if config.getini("strict") if strict is None else strict:
            raise pytest.UsageError(message)
        try:
            warnings.warn(pytest.PytestUnknownMarkWarning(message), stacklevel=2)
        except pytest.PytestUnknownMarkWarning as warning:
            raise pytest.UsageError(str(warning)) from None


def _name(line: str) -> str:
    return re.split(r"[:(]", line, maxsplit=1)[0].strip()


def metric_of(item: pytest.Item) -> str:
    """The metric that a test measures: it has one metric's marker.

    Raises:
        pytest.UsageError: it has none, or several.
    """
    return _metric(item, _names(item, item.iter_markers()))


def target_of(item: pytest.Item) -> Target | None:
    """The target of a cell's test; None where it is no cell, or where pytest has not parametrised it."""
    if "_inferena_cell" not in getattr(item, "fixturenames", ()):
        return None
    found = getattr(item, "callspec", None)
    target = found.params.get("_inferena_target") if found is not None else None
    return target if isinstance(target, Target) else None


def _metric(item: pytest.Item, names: AbstractSet[str]) -> str:
    found = names & _METRICS
    if len(found) != 1:
        raise pytest.UsageError(f"{item.nodeid}: a cell's test has exactly one marker of {', '.join(METRICS)}")
    return next(iter(found))


def arrange(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort the cells by target, compile first, and deselect what was not asked for. Other tests keep their places."""
    expression = config.getoption("markexpr", default="")
    unasked = {name for name in ASKED_FOR if not config.getoption(f"inferena_{name}") and name not in expression}
    cells = {item: target for item in items if (target := target_of(item)) is not None}
    marks = _marks(cells)
    left_out = [item for item, names in marks.items() if names & unasked or _is_twice(cells[item], names)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        gone = {*left_out}
        items[:] = [item for item in items if item not in gone]
    places = [index for index, item in enumerate(items) if item in cells]
    order: dict[Target, int] = {}
    ranks: dict[pytest.Item, int] = {}
    for item in (items[index] for index in places):
        target, metric = cells[item], _metric(item, marks[item])
        _check_names(item)
        ranks[item] = order.setdefault(target, len(order)) * len(METRICS) + METRICS.index(metric)
        issue = target.known_issue(metric) if target.framework.known_issues else None
        if issue is not None:
            item.add_marker(pytest.mark.xfail(strict=True, reason=f"{issue.reason} ({issue.link})"))
    for index, item in zip(places, sorted(ranks, key=ranks.__getitem__), strict=True):
        items[index] = item


def _is_twice(target: Target, names: AbstractSet[str]) -> bool:
    """Whether it is a latency in a batch of some size: of one element it is the same in all of them."""
    return target.batch is not None and "latency" in names


def _check_names(item: Any) -> None:
    """Refuse a cell's test that is parametrised over what is measured: it would go by another name than that.

    Raises:
        pytest.UsageError: it is.
    """
    if own := {"model", "framework", "target", "worker", "cell"} & item.callspec.params.keys():
        raise pytest.UsageError(
            f"{item.nodeid}: parametrize({min(own)!r}) does not choose what a cell measures; choose it by -m or -k, "
            f"or take `inferena` in place of `cell` and call inferena.measure({min(own)}={min(own)}, …)"
        )


def _marks(cells: Iterable[pytest.Item]) -> dict[pytest.Item, frozenset[str]]:
    """Every cell with the names of its markers that matter here. Those of a file are looked up once."""
    above: dict[Any, frozenset[str]] = {}
    found = {}
    for item in cells:
        if item.parent not in above:
            above[item.parent] = _names(item, item.parent.iter_markers() if item.parent else ())
        own = _names(item, item.own_markers)
        found[item] = above[item.parent] | own if own else above[item.parent]
    return found


def _names(item: pytest.Item, marks: Iterable[pytest.Mark]) -> frozenset[str]:
    """Names of the markers that matter.

    Raises:
        pytest.UsageError: one of them has an argument.
    """
    ours = [mark for mark in marks if mark.name in _MATTER]
    for mark in ours:
        if mark.args or mark.kwargs:
            given = ", ".join([*map(repr, mark.args), *(f"{key}={value!r}" for key, value in mark.kwargs.items())])
            raise pytest.UsageError(f"{item.nodeid}: the marker {mark.name!r} takes no argument, and has ({given})")
    return frozenset([mark.name for mark in ours])
