"""The processors of the tests: each worker of pytest-xdist takes one, some tests need all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ALL = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def take_one() -> None:
    """Give this worker a processor of its own: engines of one thread take the first that they may use.

    With all in use, those of every worker would share it, and the others would idle.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    if worker.isdigit() and ALL:
        os.sched_setaffinity(0, {ALL[int(worker) % len(ALL)]})


@pytest.fixture
def all_processors() -> Iterator[None]:
    """Let what a test starts use all of them."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, ALL)
    yield
    os.sched_setaffinity(0, before)
