"""Durations that a worker measured, as results of pytest-benchmark."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from pytest_inferena.cell import DEFAULTS, KEY
from pytest_inferena.machine import thread_budget
from pytest_inferena.results import plain
from pytest_inferena.worker.strict import out_of_bounds

if TYPE_CHECKING:
    from pytest_inferena.results import Record

EXTRA = ("outcome", "flags", "attempts", "verdict", "interval", "noise", "ran", "versions", "hashes")
"""Fields of a record that ride along as pytest-benchmark's extra_info, beside those that the test has put there."""


class Ledger:
    """pytest-benchmark's list of results, as far as they are cells'. It switches itself off under xdist; we go on."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self._made: dict[Any, Any] = {}

    @property
    def listed(self) -> list[Any] | None:
        """The list; None without pytest-benchmark. It may be configured after us."""
        session = getattr(self.config, "_benchmarksession", None)
        return None if session is None else session.benchmarks

    def enter(self, report: pytest.TestReport, record: Record | None) -> None:
        """Take in what a report says: the figures of a test that passes, and nothing of one that does not."""
        if (listed := self.listed) is None:
            return
        name = (getattr(report, "node", None), report.nodeid)
        old = self._made.pop(name, None)
        if old is not None:
            listed[:] = [made for made in listed if made is not old]
        if record is not None and record.outcome.right and record.samples and "benchmark" in record.extra:
            self._made[name] = made = result(report.nodeid, record)
            listed.append(made)

    def sort(self) -> None:
        """Under xdist reports arrive in any order; pytest-benchmark keeps that of the list."""
        (self.listed or []).sort(key=lambda made: made.fullname)


def hand_over(record: Record, benchmark: Any) -> Record:
    """The record of a test that wants its samples to be among pytest-benchmark's results.

    Args:
        record: What was measured.
        benchmark: The test's fixture of that name: it may have a group, and more to be written beside the figures.
    """
    if not hasattr(benchmark, "extra_info"):  # none, or somebody else's of that name
        return record
    if benchmark.stats is not None:
        pytest.fail(
            "this test has called benchmark() itself, so pytest-benchmark has a result of its name already; "
            "leave out cell.record(), or measure the cell in another test",
            pytrace=False,
        )
    said = json.loads(json.dumps({"group": benchmark.group, "extra_info": benchmark.extra_info}, default=str))
    if found := out_of_bounds(said):
        pytest.fail(f"what this test has put into benchmark cannot stand in a result file: {found}", pytrace=False)
    return replace(record, extra={**record.extra, "benchmark": said})


def result(nodeid: str, record: Record) -> Any:
    """A result of pytest-benchmark. What would be another thing to compare has another name and another group."""
    from pytest_benchmark.stats import Metadata

    fields, said, other = plain(record), record.extra["benchmark"], unusual(record)
    processes = [len(samples) for samples in record.samples]
    fixture = SimpleNamespace(
        name=f"{nodeid.rpartition('::')[2]}{other}",
        fullname=f"{nodeid}{other}",
        group=said["group"] or f"{record.model} {record.metric}{other}",
        param=nodeid.partition("[")[2].removesuffix("]"),
        params={name: fields[name] for name in (*KEY, "weights")},
        extra_info={**{name: fields[name] for name in EXTRA}, "processes": processes, **said["extra_info"]},
        cprofile_stats=None,
        has_error=False,
    )
    loop, steps = record.extra.get("loop", {}), record.extra.get("steps_per_sample", 1)
    options = {"timer": "the worker's monotonic clock", "disable_gc": False, "warmup": False, **loop}
    made = Metadata(fixture, iterations=steps, options=options)
    for sample in record.durations:
        made.stats.update(sample)  # a step's duration, as pytest-benchmark keeps a batch divided by its iterations
    return made


def unusual(record: Record) -> str:
    """What tells a cell from the usual one of its test, such as ` (tiny, 1 thread)`; "" for that."""
    told = [name for name in (record.size, record.weights) if name not in DEFAULTS.values()]
    if record.threads != thread_budget():
        told.append(f"{record.threads} thread{'' if record.threads == 1 else 's'}")
    return f" ({', '.join(told)})" if told else ""
