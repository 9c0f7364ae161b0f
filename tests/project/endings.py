"""Tests of cells that end as `endings.json` says: for each test and engine a list, one for each attempt."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent
ENDINGS: dict[str, list[str]] = json.loads((HERE / "endings.json").read_text())
ATTEMPTS: Counter[str] = Counter()


@pytest.fixture
def ending(request: pytest.FixtureRequest, framework: Any) -> Iterator[str]:
    """How this attempt ends. The fixture itself may fail."""
    ahead = ENDINGS[f"{request.node.originalname}-{framework.name}"]
    chosen = ahead[ATTEMPTS[request.node.nodeid] % len(ahead)]
    ATTEMPTS[request.node.nodeid] += 1
    if chosen == "setup":
        raise RuntimeError("no room\nfor this test")
    yield chosen
    if chosen == "teardown":
        raise RuntimeError("cannot tidy up")


def alarm(seconds: float, error: Callable[[], BaseException]) -> None:
    """Raise in the middle of whatever runs then, as plugins with a time limit and Ctrl-C do."""

    def ring(*_: object) -> None:
        raise error()

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)


FAULTS = {
    "crash": {"phase": "measure", "action": "signal"},
    "compile": {"phase": "compile", "action": "raise"},
    "oom": {"phase": "measure", "action": "memory"},
    "lacks": {"phase": "compile", "action": "unsupported"},
    "wrong": {"result": "wrong"},
    "swallowed": {"result": "wrong"},
    "close": {"result": "close"},
    "late": {"phase": "measure", "action": "hang"},
    "slow": {"sleep": 5},
}
BEFORE: dict[str, Callable[[], Any]] = {
    "early": lambda: pytest.skip("not today"),
    "raise": lambda: int("four"),
    "exit": lambda: sys.exit(3),
    "late": lambda: alarm(0.4, lambda: pytest.fail.Exception("Timeout (>0.4s) from somebody.")),
    "slow": lambda: alarm(0.1, lambda: TimeoutError("enough")),
    "interrupt": lambda: alarm(0.2, KeyboardInterrupt),
    "die": lambda: os._exit(9),
}
AFTER: dict[str, Callable[[], Any]] = {
    "skip": lambda: pytest.skip("changed my mind"),
    "xfail": lambda: pytest.xfail("as ever"),
    "own": lambda: pytest.fail("it is too slow"),
}


def measure(cell: Any, ending: str) -> None:
    """A cell's test, up to its end."""
    (cell.bench.target.framework.adapter.parent / "fault.json").write_text(json.dumps(FAULTS.get(ending, {})))
    try:
        BEFORE.get(ending, int)()
        result = cell.measure()
        AFTER.get(ending, int)()
        assert ending == "swallowed" or result == cell.golden
        cell.record(result)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@pytest.mark.latency
def test_one(ending: str, cell: Any) -> None:
    """A cell's test."""
    measure(cell, ending)


@pytest.mark.latency
def test_two(ending: str, cell: Any) -> None:
    """Another one of the same cell."""
    measure(cell, ending)


@pytest.mark.inference
def test_three(ending: str, cell: Any) -> None:
    """One of another cell."""
    measure(cell, ending)


@pytest.mark.training
@pytest.mark.xfail(raises=AssertionError, reason="known", strict=True)
def test_four(ending: str, cell: Any) -> None:
    """One that is declared to be wrong."""
    measure(cell, ending)
