"""What a run would do and how long it takes, from what earlier runs of this folder took."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pytest_inferena import results
from pytest_inferena.collect.selection import metric_of
from pytest_inferena.processes.parts import BASE, Folder
from pytest_inferena.processes.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import pytest

    from pytest_inferena.collect.settings import Settings

    Walls = Mapping[tuple[Any, ...], float]

UNKNOWN = 30.0
"""Seconds counted for a cell that never ran here; said so wherever it is counted."""


def history(folder: Path) -> Walls:
    """Seconds that each cell last took, by its key, from the newest journals of a folder."""
    walls: dict[tuple[Any, ...], float] = {}
    journals = sorted(folder.glob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns)[-20:]
    for path in journals:
        try:
            found = results.read(path)
        except results.ResultsError:
            continue  # a journal that cannot be read takes no part in a guess
        walls |= {results.key_of(record): record["wall"] for record in found.records}
    return walls


def cells(items: Iterable[pytest.Item]) -> list[tuple[Any, str, str]]:
    """(target, metric, node id) of every item that is a cell."""
    return [
        (cast("Any", item).callspec.params["target"], metric_of(item), item.nodeid)
        for item in items
        if "cell" in getattr(item, "fixturenames", ())
    ]


def seconds(target: Any, metric: str, settings: Settings, walls: Walls) -> float | None:
    """What a cell took when it last ran."""
    return walls.get(results.key_of(cast("results.Record", settings.blank(target, metric))))


def plan(items: Iterable[pytest.Item], settings: Settings, walls: Walls) -> str:
    """The cells, the minutes and the disk."""
    lines, total, unknown = [], 0.0, 0
    workloads = {}
    for target, metric, _ in cells(items):
        took = seconds(target, metric, settings, walls)
        unknown += took is None
        total += took if took is not None else UNKNOWN
        too_big = target.model.too_big(target.entry(metric), settings.size)
        reason = target.absent(metric) or too_big or target.framework.missing(target.backend)
        known = reason or (f"{took:.0f} s last time" if took is not None else "never ran here")
        lines.append(f"  {metric:<10} {target.id:<36} {known}")
        workload = Workload(target.model, settings.size, settings.weights)
        if not reason and Folder(workload).part(BASE, whole=False) is None:
            workloads[workload.key()] = workload
    disk = sum(workload.estimate() for workload in workloads.values()) >> 20
    note = f" ({unknown} never ran here, counted as {UNKNOWN:.0f} s each)" if unknown else ""
    lines.append(f"{len(lines)} cells, about {total / 60:.1f} min{note}, {disk} MiB of disk to be prepared")
    return "\n".join(lines)
