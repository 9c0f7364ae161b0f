"""Durations that a worker measured, as results of pytest-benchmark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_inferena.results import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_inferena.results import Record


class Replay:
    """A clock that replays durations: it reads 0, then d, for every sample d, in seconds.

    `benchmark.pedantic` reads its timer exactly twice a round. So pytest-benchmark stores the worker's samples, bit
    for bit.
    """

    __name__ = "replay"  # what pytest-benchmark writes as options.timer

    def __init__(self) -> None:
        self._ticks: Iterator[float] = iter(())

    def load(self, durations: Sequence[float]) -> None:
        """Set what comes next."""
        self._ticks = (tick for duration in durations for tick in (0.0, duration))

    def __call__(self) -> float:
        """The next tick, in seconds."""
        return next(self._ticks)


def group_of(record: Record) -> str:
    """The group within which pytest-benchmark compares: a model and a metric."""
    return f"{record.model} {record.metric}"


def params_of(record: Record) -> dict[str, str]:
    """What `--benchmark-group-by=param:framework` and its like can name."""
    return {
        "model": record.model, "framework": record.framework, "backend": record.backend, "device": record.device
    }  # fmt: skip


def extra_of(record: Record) -> dict[str, Any]:
    """What rides along as pytest-benchmark's extra_info, as JSON values."""
    fields = plain(record)
    return {name: fields[name] for name in ("outcome", "flags", "weights", "ran", "versions", "hashes", "threads")}


def mark(item: pytest.Item) -> None:
    """Give a cell's test the clock that replays, before its `benchmark` fixture is made."""
    item.add_marker(pytest.mark.benchmark(timer=Replay(), warmup=False))


def replay(item: pytest.Item, benchmark: Any, record: Record) -> None:
    """Hand a record's samples to pytest-benchmark, grouped by model and metric."""
    marker = item.get_closest_marker("benchmark")
    if marker is None or not record.samples:
        benchmark.skipped = True  # nothing measured: no row, and no warning of an unused fixture
        return
    benchmark.group = group_of(record)
    benchmark.params = params_of(record)
    benchmark.extra_info |= extra_of(record)
    marker.kwargs["timer"].load(record.samples)
    benchmark.pedantic(lambda: None, rounds=len(record.samples))
