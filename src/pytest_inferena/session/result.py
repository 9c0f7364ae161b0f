"""What a test of one's own gets: a measurement's figures, its verdict, and what the engine computed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from pytest_inferena.report.texts import display, figure
from pytest_inferena.verdict.tensors import Array, GoldenFile
from pytest_inferena.worker.stats import COVERED, median_interval

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_inferena.cell import Outcome
    from pytest_inferena.results import Record

GRADIENT = "grad:"


class Tensors(Mapping[str, Array]):
    """What a step computed, by name. Each tensor is read when it is asked for, as long as its test runs."""

    def __init__(self, file: Path) -> None:
        self._file = GoldenFile(file) if file.exists() else {}

    def __getitem__(self, name: str) -> Array:
        try:
            return cast("Array", self._file[name])
        except FileNotFoundError:
            raise ValueError(f"{name}: what an engine computed is kept until its test ends; read it there") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._file)

    def __len__(self) -> int:
        return len(self._file)


class Part(Mapping[str, Array]):
    """Some of the tensors, under shorter names."""

    def __init__(self, tensors: Mapping[str, Array], names: Mapping[str, str]) -> None:
        self._tensors, self._names = tensors, names

    def __getitem__(self, name: str) -> Array:
        return self._tensors[self._names[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """What a measurement found. A figure that there is none of is NaN, and no comparison with NaN is true."""

    record: Record
    """The whole record, as the journal has it."""
    tensors: Mapping[str, Array] = field(default_factory=dict)
    """All that was judged: the outputs by name, or `loss` and `grad:PARAMETER`."""
    rounds: tuple[float, ...] = ()
    """The median of each round in which `compare` measured it in turn with others, in seconds."""

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.record.model

    @property
    def framework(self) -> str:
        """The engine and its backend, as a test can name them: `pytorch-eager`."""
        return f"{self.record.framework}-{self.record.backend}"

    @property
    def metric(self) -> str:
        """What was timed: compile, inference, latency or training."""
        return self.record.metric

    @property
    def outcome(self) -> Outcome:
        """What became of it: `pass`, `close`, `fail`, `unsupported`."""
        return self.record.outcome

    @property
    def right(self) -> bool:
        """The engine computed what PyTorch computes in float64: PASS or CLOSE."""
        return self.outcome.right

    @property
    def reason(self) -> str:
        """Why the outcome is not PASS, in a sentence; empty for PASS."""
        return self.record.reason

    @property
    def verdict(self) -> str:
        """What the gate found, in a sentence with figures; empty where nothing was judged."""
        return self.record.verdict.message if self.record.verdict else ""

    @property
    def median(self) -> float:
        """The median of the samples, in seconds; NaN where nothing was timed, as with --benchmark-disable."""
        return _figure(self.record.median)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the median, in seconds; NaN where fewer than two samples were taken."""
        return self.record.interval or (math.nan, math.nan)

    @property
    def samples(self) -> tuple[float, ...]:
        """Every duration of one whole step, in seconds, in the order of measuring, of all processes."""
        return self.record.durations

    @property
    def nrmse(self) -> float:
        """The error of the worst tensor, relative to its size; NaN where it is missing, misshapen or not finite."""
        return _figure(getattr(self.record.verdict, "nrmse", None))

    @property
    def limit(self) -> float:
        """The largest NRMSE with which that tensor passes."""
        return _figure(getattr(self.record.verdict, "limit", None))

    @property
    def loss(self) -> float:
        """The loss that the engine computed in training; NaN for another metric."""
        return _figure(getattr(self.record.verdict, "loss", None))

    @property
    def outputs(self) -> Mapping[str, Array]:
        """The outputs of a step that was timed, as NumPy arrays by name; none in training."""
        return Part(self.tensors, {name: name for name in self.tensors if self.metric != "training"})

    @property
    def gradients(self) -> Mapping[str, Array]:
        """The gradients of a training step, as NumPy arrays by the parameter's name; none for another metric."""
        names = [name for name in self.tensors if self.metric == "training" and name.startswith(GRADIENT)]
        return Part(self.tensors, {name.removeprefix(GRADIENT): name for name in names})

    @property
    def versions(self) -> Mapping[str, str]:
        """The version of each distribution that the engine consists of."""
        return self.record.versions

    def slower_than(self, other: Result, *, by: float = 0.0) -> bool:
        """Whether it surely takes longer than another.

        That is so if the whole 95 % interval of the quotient of the two times lies above 1 + `by`. Noise makes the
        interval wider, so it does not fail a test. Where `compare` measured the two, the quotient is taken round by
        round, and what slows the machine down slows down both. Nothing is slower where nothing was timed, as with
        --benchmark-disable.

        Args:
            other: what it is compared with.
            by: the share that does not count: 0.1 for 10 %.

        Raises:
            ValueError: one of them is wrong, so its time is another model's, or was timed only once.
        """
        if wrong := [one for one in (self, other) if not one.right]:
            raise ValueError(f"{wrong[0]!r}: a wrong result has no speed")
        if not (self.samples and other.samples):
            return False
        if len(self.rounds) == len(other.rounds) >= COVERED:
            low, _ = median_interval([mine / its for mine, its in zip(self.rounds, other.rounds, strict=True)])
        else:
            low = self.interval[0] / other.interval[1]
        if math.isnan(low):
            raise ValueError(f"{self.metric} was timed once, so luck decides: inferena.compare(…) times it in turns")
        return low > 1 + by

    def __repr__(self) -> str:
        median, _, spread = figure(self.record).partition(" ")
        time = f"{median} {display(self.metric, self.record.unit)[0]} {spread}".rstrip() if median else ""
        return f"<{self.record}: {', '.join(filter(None, (self.outcome.upper(), time, self.reason)))}>"


def _figure(value: float | None) -> float:
    return math.nan if value is None else float(value)
