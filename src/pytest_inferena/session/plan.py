"""What a run will do and how long it will take, judging by earlier runs in this folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_inferena import results
from pytest_inferena.collect.misuse import is_own
from pytest_inferena.collect.selection import metric_of, target_of
from pytest_inferena.processes.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import pytest

    from pytest_inferena.cell import Cell, Key
    from pytest_inferena.collect.settings import Settings
    from pytest_inferena.collect.target import Target

    Walls = Mapping[Key, float]

UNKNOWN = 30.0
"""Seconds that a cell counts for if it never ran here. The output says so."""


def history(folder: Path) -> Walls:
    """Seconds that each cell last took, by its key, from the newest journals of a folder."""
    walls: dict[Key, float] = {}
    for path in reversed(results.journals(folder)[:20]):
        try:
            found = results.read(path)
        except results.ResultsError:
            continue  # a guess can do without a journal that cannot be read
        walls |= {record.key: record.wall for record in found.records}
    return walls


def cells(items: Iterable[Any], settings: Settings) -> list[tuple[str, Target, Cell]]:
    """Node id, target and cell of every item that is a cell."""
    found = [(item, target) for item in items if (target := target_of(item)) is not None]
    return [(item.nodeid, target, settings.cell(target, metric_of(item))) for item, target in found]


def plan(items: Sequence[pytest.Item], settings: Settings, walls: Walls) -> str:
    """The cells, the minutes and the disk."""
    from pytest_inferena.processes.parts import BASE, Folder

    lines, total, unknown = [], 0.0, 0
    workloads = {}
    for _, target, cell in cells(items, settings):
        took = walls.get(cell.key)
        unknown += took is None
        total += took if took is not None else UNKNOWN
        too_big = target.model.too_big(cell.entry, cell.size)
        reason = target.absent(cell.metric) or too_big or target.framework.missing(target.backend)
        known = reason or (f"{took:.0f} s last time" if took is not None else "never ran here")
        lines.append(f"  {cell.metric:<10} {cell.id:<36} {known}")
        workload = Workload.of(target, settings)
        if not reason and Folder(workload).part(BASE, whole=False) is None:
            workloads[workload.key()] = workload
    disk = sum(workload.estimate() for workload in workloads.values()) >> 20
    note = f" ({unknown} never ran here, counted as {UNKNOWN:.0f} s each)" if unknown else ""
    own = [item.nodeid for item in items if is_own(item)]
    own = [f"  {nodeid}: a test of your own, which says what it measures when it runs" for nodeid in own]
    lines.append(f"{len(lines)} cells, about {total / 60:.1f} min{note}, {disk} MiB of disk to be prepared")
    return "\n".join(lines + own)
