"""What a cell's figures are set beside: the memory of its worker, the operations of a step, the machine's peak."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_inferena.cell import Cell
    from pytest_inferena.collect.settings import Settings
    from pytest_inferena.session.figures import Process

PLAUSIBLE = 1.1
"""How many times the machine's peak a figure may be."""


def reached(settings: Settings, device: str) -> dict[str, float | str]:
    """The machine's `peak` in GFLOP/s, or why nobody knows it; empty where nobody asked. It is measured once a run."""
    if "peak" not in settings.columns or settings.judges_only:
        return {}
    if device != "cpu":
        return {"peak": f"that of {device} is not measured"}
    from pytest_inferena.processes.peak import peak

    return {"peak": peak(settings.threads)}


def resources(found: Sequence[Process], peak: Mapping[str, float | str]) -> dict[str, Any]:
    """Fields of a record: what is known of memory (MiB) and of the peak, and in `missing` why something is not.

    Args:
        found: the cell's processes; the one that took most counts.
        peak: what `reached` gave.
    """
    seen = [one.memory for one in found]
    reasons = [one for one in seen if isinstance(one, str)]
    most = max((one for one in seen if not isinstance(one, str)), default=0)
    told = {"memory": reasons[0] if reasons else round(most / 2**20, 1), **peak}
    missing = {name: reason for name, reason in told.items() if isinstance(reason, str)}
    return {**{name: figure for name, figure in told.items() if name not in missing}, "missing": missing}


def implausible(cell: Cell, flop: int | None, fields: Mapping[str, Any]) -> bool:
    """Whether a step is quicker than the machine can do its operations, as far as they are counted.

    Args:
        cell: compiling is no step.
        flop: of the step.
        fields: those of the record, with `median` and `peak` where they are known.
    """
    if cell.metric == "compile" or not flop or "median" not in fields or "peak" not in fields:
        return False
    return bool(flop / 1e9 > PLAUSIBLE * fields["peak"] * fields["median"])
