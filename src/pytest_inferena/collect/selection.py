"""Which cells there are and in which order: parameters, markers, `-m`."""

from __future__ import annotations

import difflib
import keyword
import re
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from pytest_inferena.cell import METRICS
from pytest_inferena.collect.target import ASKED_FOR

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet

    from pytest_inferena.collect.registry import Registry
    from pytest_inferena.collect.target import Target

_METRICS = frozenset(METRICS)
_MATTER = _METRICS | ASKED_FOR.keys()
OPERATORS = {"and", "or", "not", "True", "False", "None"}


def parameters(registry: Registry) -> list[Any]:
    """All targets as pytest parameters, with their ids and markers."""
    return [
        pytest.param(target, id=target.id, marks=[_mark(name) for name in target.marks()])
        for target in registry.targets
    ]


@cache
def _mark(name: str) -> pytest.MarkDecorator:
    mark: pytest.MarkDecorator = getattr(pytest.mark, name)
    return mark


def declare_markers(config: pytest.Config, registry: Registry) -> None:
    """Declare a marker for every metric, model, framework, backend, device and language.

    Raises:
        pytest.UsageError: a name is a keyword of Python or of `-m`, or somebody else's marker, or `-m` names a
            marker that does not exist.
    """
    declared = {_name(line): line for line in config.getini("markers")}
    ours = registry.markers() if registry.models and registry.frameworks else {}
    for name, description in ours.items():
        if keyword.iskeyword(name) or name in OPERATORS:
            raise pytest.UsageError(f"inferena: {name!r} ({description}) is a keyword, so -m cannot name it; rename it")
        if name in declared:
            raise pytest.UsageError(
                f"inferena: the marker {name!r} ({description}) is declared already: '{declared[name]}'; rename one"
            )
        config.addinivalue_line("markers", f"{name}: {description}")
    expression = config.getoption("markexpr", default="")
    if ours and expression:
        _check_expression(expression, {*ours, *declared})


def _name(line: str) -> str:
    return re.split(r"[:(]", line, maxsplit=1)[0].strip()


def _check_expression(expression: str, known: set[str]) -> None:
    """Refuse an unknown name in `-m`: pytest would silently select nothing."""
    without_arguments = re.sub(r"\([^()]*=[^()]*\)", "", expression)
    for name in re.findall(r"[A-Za-z_][\w.]*", without_arguments):
        if name not in known and name not in OPERATORS:
            near = difflib.get_close_matches(name, sorted(known), 1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise pytest.UsageError(
                f"-m {expression!r}: no marker is named {name!r}; {hint}'pytest --markers' lists them"
            )


def metric_of(item: pytest.Item) -> str:
    """The metric that a test measures: it has one metric's marker.

    Raises:
        pytest.UsageError: it has none, or several.
    """
    return _metric(item, _names(item.iter_markers()))


def _metric(item: pytest.Item, names: AbstractSet[str]) -> str:
    found = names & _METRICS
    if len(found) != 1:
        raise pytest.UsageError(f"{item.nodeid}: a cell's test has exactly one marker of {', '.join(METRICS)}")
    return next(iter(found))


def arrange(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort the cells by target, compile first, and deselect what was not asked for. Other tests keep their places."""
    expression = config.getoption("markexpr", default="")
    unasked = {name for name in ASKED_FOR if not config.getoption(f"inferena_{name}") and name not in expression}
    marks = _marks(items)
    left_out = [item for item, names in marks.items() if names & unasked]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        gone = {*left_out}
        items[:] = [item for item in items if item not in gone]
    places = [index for index, item in enumerate(items) if item in marks]
    order: dict[Any, int] = {}
    ranks: dict[pytest.Item, int] = {}
    for item in (items[index] for index in places):
        target, metric = _target(item), _metric(item, marks[item])
        ranks[item] = order.setdefault(target, len(order)) * len(METRICS) + METRICS.index(metric)
        issue = target.known_issue(metric) if target.framework.known_issues else None
        if issue is not None:
            item.add_marker(pytest.mark.xfail(strict=True, reason=f"{issue.reason} ({issue.link})"))
    for index, item in zip(places, sorted(ranks, key=ranks.__getitem__), strict=True):
        items[index] = item


def _target(item: Any) -> Target:
    """The target of a cell. Its test cannot say which: it would go by another name than that of what is measured.

    Raises:
        pytest.UsageError: its test is parametrised over the model or the framework.
    """
    if own := {"model", "framework", "worker", "cell"} & item.callspec.params.keys():
        raise pytest.UsageError(
            f"{item.nodeid}: parametrize({min(own)!r}) does not choose what a cell measures; "
            "choose it by -m or -k, or skip the others in the test"
        )
    target: Target = item.callspec.params["target"]
    return target


def _marks(items: Iterable[pytest.Item]) -> dict[pytest.Item, frozenset[str]]:
    """Every cell with the names of its markers that matter here. Those of a file are looked up once."""
    above: dict[Any, frozenset[str]] = {}
    found = {}
    for item in items:
        if "cell" in getattr(item, "fixturenames", ()):
            if item.parent not in above:
                above[item.parent] = _names(item.parent.iter_markers() if item.parent else ())
            own = _names(item.own_markers)
            found[item] = above[item.parent] | own if own else above[item.parent]
    return found


def _names(marks: Iterable[pytest.Mark]) -> frozenset[str]:
    return frozenset([mark.name for mark in marks if mark.name in _MATTER])
