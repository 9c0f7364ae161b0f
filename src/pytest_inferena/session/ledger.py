"""Durations measured in a worker, as first-class results of pytest-benchmark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class Replay:
    """A clock that reads out durations measured elsewhere: 0, d for every sample d, in seconds.

    `benchmark.pedantic` reads its timer exactly twice a round, so the samples that pytest-benchmark
    stores are the worker's, bit for bit.
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


EXTRA = ("outcome", "flags", "weights", "ran", "versions", "hashes", "threads")
"""Fields of a record that ride along as pytest-benchmark's extra_info."""


def group_of(record: Mapping[str, Any]) -> str:
    """What pytest-benchmark compares within: a model and a metric."""
    return f"{record['model']} {record['metric']}"


def params_of(record: Mapping[str, Any]) -> dict[str, str]:
    """What `--benchmark-group-by=param:framework` and its like can name."""
    return {name: record[name] for name in ("model", "framework", "backend", "device")}


def mark(item: pytest.Item) -> None:
    """Give a cell's test the replaying clock; before its `benchmark` fixture is made."""
    item.add_marker(pytest.mark.benchmark(timer=Replay(), warmup=False))


def replay(item: pytest.Item, benchmark: Any, record: dict[str, Any]) -> None:
    """Hand a record's samples to pytest-benchmark, grouped by model and metric."""
    marker = item.get_closest_marker("benchmark")
    if marker is None or not record["samples"]:
        benchmark.skipped = True  # nothing measured: no row, and no warning of an unused fixture
        return
    benchmark.group = group_of(record)
    benchmark.params = params_of(record)
    for name in EXTRA:
        benchmark.extra_info[name] = record[name]
    marker.kwargs["timer"].load(record["samples"])
    benchmark.pedantic(lambda: None, rounds=len(record["samples"]))


class NoBenchmark:
    """Stands in for pytest-benchmark's fixture when that plugin is switched off."""

    @pytest.fixture
    def benchmark(self) -> None:
        """No statistics of pytest-benchmark; cells are measured, judged and reported all the same."""
