"""A clock and steps that take no time: the loop's rules without waiting, and vectors of them for other languages."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferena.worker.timing import Loop, Timing, measure

if TYPE_CHECKING:
    import numpy as np

VECTORS = Path(__file__).with_name("timing_vectors.json")
US, MS, S = 10**3, 10**6, 10**9


@dataclass
class Machine:
    """Steps of given durations in ns; the last one goes on for ever. The work is done in `synchronize`."""

    durations: list[int]
    now: int = 0
    steps: int = 0
    pending: int = 0
    early: int = 0
    """Readings of the clock while a step was under way."""

    def __call__(self) -> None:
        """Begin a step."""
        self.pending += self.durations[min(self.steps, len(self.durations) - 1)]
        self.steps += 1

    def synchronize(self) -> None:
        """End all steps that have begun."""
        self.now += self.pending
        self.pending = 0

    def outputs(self) -> dict[str, np.ndarray[Any, Any]]:
        """Nothing."""
        return {}

    def clock(self) -> int:
        """Now, in ns."""
        self.early += self.pending > 0
        return self.now


def run(durations: list[int], **loop: Any) -> tuple[Timing, Machine]:
    """The loop over steps of these durations in ns."""
    machine = Machine(durations)
    return measure(machine, Loop(**loop), machine.clock), machine


def vectors() -> dict[str, dict[str, Any]]:
    """The cases of timing_vectors.json by name."""
    cases: list[dict[str, Any]] = json.loads(VECTORS.read_text())["cases"]
    return {case["name"]: case for case in cases}
