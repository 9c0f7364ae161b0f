"""What pytest-benchmark's options and marker ask of the timing loop, and what they cannot ask of it."""

from __future__ import annotations

import argparse
import math
import os
import shlex
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from pytest_inferena.ranges import number, seconds, whole
from pytest_inferena.worker.timing import Loop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import pytest

ONCE = asdict(Loop(min_rounds=1, max_rounds=1, few=1, warmup=False))
"""A loop that takes one step more and measures nothing."""
MOST_ROUNDS = 10_000
"""An answer has the time of each, and its line an end."""
OURS: Mapping[str, Callable[[str, Any], Any]] = {
    "min_rounds": lambda name, given: whole(name, given, MOST_ROUNDS),
    "max_time": seconds,
    "precision": lambda name, given: number(name, given, 1, "a share of the median, over 0 and at most 1"),
    "warmup": lambda _, given: str(given).lower() not in {"off", "no", "false"},
}
"""What governs the loop: fields of `Loop`, each with its reader."""
_ELSEWHERE = "a step runs in its engine's process, which"
NOT_OURS = {
    "timer": f"{_ELSEWHERE} times it by the monotonic clock",
    "disable_gc": f"{_ELSEWHERE} may not be Python",
    "cprofile": f"{_ELSEWHERE} Python's profiler does not see from here",
    "min_time": "steps of less than 1 ms are timed in batches of 1 ms",
    "calibration_precision": "steps of less than 1 ms are timed in batches of 1 ms",
    "warmup_iterations": "the warm-up takes 3 steps and 0.2 s at least; --benchmark-warmup=off leaves it out",
    "confidence": "a median's interval is that of 95 %",
}
"""What does not, and why."""


def loop_of(config: pytest.Config) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The timing loop of a session: ours, changed by those options of pytest-benchmark that are given.

    Returns:
        its fields, and a sentence for each option that is given and does not count.
    """
    given = _given(config)
    unused = unused_of(map(_option, given))
    loop = changed(asdict(Loop()), given, _option)
    disabled = config.getoption("benchmark_disable", default=False)
    if disabled and not config.getoption("benchmark_enable", default=False):
        return {**ONCE}, unused
    return loop, unused


def changed(
    loop: Mapping[str, Any], asked: Mapping[str, Any], written: Callable[[str], str] = "the marker benchmark: {}".format
) -> dict[str, Any]:
    """A loop as options or the keywords of `pytest.mark.benchmark` ask for it; it never ends before `min_rounds`.

    Args:
        loop: The loop so far.
        asked: What is asked for, by the names of `OURS` and others.
        written: How a message calls each of these.

    Raises:
        RangeError: A value is out of its range.
    """
    said = {name: read(written(name), asked[name]) for name, read in OURS.items() if asked.get(name) is not None}
    found = replace(Loop(**loop), **said)
    return asdict(replace(found, max_rounds=max(found.min_rounds, found.max_rounds)))


def shared(loop: Mapping[str, Any], among: int) -> dict[str, Any]:
    """A loop's share, where several measurements make one figure: of its rounds and of its seconds."""
    rounds = {name: math.ceil(loop[name] / among) for name in ("min_rounds", "max_rounds", "few")}
    return {**loop, **rounds, **{name: loop[name] / among for name in ("max_time", "give_up")}}


def unused_of(names: Iterable[str]) -> tuple[str, ...]:
    """A sentence for each option, or keyword of the marker, that does not count for cells."""
    keys = {name: name.removeprefix("--benchmark-").replace("-", "_") for name in names}
    return tuple(f"{name} does not count for cells: {NOT_OURS[key]}" for name, key in keys.items() if key in NOT_OURS)


def _option(name: str) -> str:
    return f"--benchmark-{name.replace('_', '-')}"


def _given(config: pytest.Config) -> dict[str, Any]:
    """The options that are written on the command line, in the ini file or in PYTEST_ADDOPTS."""
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False, argument_default=argparse.SUPPRESS)
    for name in (*OURS, *NOT_OURS):
        option = _option(name)
        if name == "disable_gc":
            parser.add_argument(option, dest=name, action="store_true")
        else:
            parser.add_argument(option, dest=name, nargs="?" if name == "warmup" else None)
    written = [*config.getini("addopts"), *shlex.split(os.environ.get("PYTEST_ADDOPTS", ""))]
    given, _ = parser.parse_known_args([*written, *map(str, config.invocation_params.args)])
    return vars(given)
