"""A worker's tensors against golden. A worker runs as the same user, so nothing that it can reach is taken on trust."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_inferena.cell import Outcome
from pytest_inferena.processes.client import WorkerFailed
from pytest_inferena.verdict.gate import Verdict, judge
from pytest_inferena.verdict.tensors import GoldenFile

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_inferena.cell import Cell
    from pytest_inferena.processes.preparer import Prepared

WIDEST = 4
"""How many times the bytes of golden and weights an answer may have, beside `SPARE`: types may be wrong and wide."""
SPARE = 1 << 20


def judged(prepared: Prepared, cell: Cell, file: Path) -> Verdict:
    """Judge what a worker has written.

    Raises:
        WorkerFailed: it is no such file, or something that was prepared has changed meanwhile.
    """
    verdict, failure = None, ""
    try:
        verdict = _verdict(prepared, cell, file)
    except Exception as error:  # noqa: BLE001 - whatever an engine writes, it is that cell's record
        failure = f"outputs: {str(error) or type(error).__name__}"
    if (changed := prepared.changed(cell.entry)) is not None:
        failure = f"{changed} was changed while this engine ran; it will be prepared again"
    if verdict is None or failure:
        raise WorkerFailed(Outcome.ERROR, failure)
    return verdict


def _verdict(prepared: Prepared, cell: Cell, file: Path) -> Verdict:
    facts, right = prepared.golden[cell.entry], prepared.golden_file(cell.entry)
    golden = GoldenFile(right, facts["none"])
    most = WIDEST * (right.stat().st_size + (prepared.folder / "weights.safetensors").stat().st_size) + SPARE
    if (size := file.stat().st_size) > most:
        raise ValueError(f"{file.name} has {size} bytes, and what is asked for takes {most} at most")
    given = GoldenFile(file, names=len(golden))
    return judge(golden, facts["tensors"], given, cell.dtype, facts["notes"])
