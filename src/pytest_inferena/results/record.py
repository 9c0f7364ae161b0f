"""What result files hold: a run's header and its records. The JSON Schema is generated from these types.

The types are msgspec's, which checks what is read and knows JSON Schema. Importing it takes 30 ms beside pytest's 400;
attrs with cattrs takes 80 and does neither by itself.
"""

from __future__ import annotations

import shlex
from typing import Annotated, Any, Literal, Self, TypeAlias

from msgspec import Meta, Struct
from msgspec.structs import asdict

from pytest_inferena.cell import Cell, Count, Outcome

Whole: TypeAlias = Annotated[int, Meta(ge=0)]
Number: TypeAlias = Whole | Annotated[float, Meta(ge=0, le=1e100)]
"""A whole number stays one, so that a file is written as it was read. No figure is larger: nobody could draw it."""
JUDGED = tuple(outcome.value for outcome in Outcome if outcome.judged)
Others: TypeAlias = dict[str, Any]


class Platform(Struct, frozen=True, kw_only=True):
    """What machine the run was made on."""

    id: str
    """Name of the kind of machine: CPU model and logical cores, [a-z0-9.-]+."""
    identity: str = ""
    """What tells machines apart that have the same id: a hash of the processor's family, model, stepping, flags, its
    caches, the limits of its frequency, its CPUs and NUMA nodes; hexadecimal, empty in files from before it was."""
    cpu: str
    """The CPU's model."""
    os: str = ""
    """Operating system and kernel."""
    memory_mib: Whole | None = None
    """Main memory; null where the system does not say. Unit: MiB."""
    devices: tuple[str, ...] = ("cpu",)
    """cpu, then the GPUs by name, in their driver's order."""
    driver: str | None = None
    """Version of the GPU driver; null without one."""
    python: str = ""
    """Version of the Python that ran the harness."""
    others: Others = {}

    def is_same(self, other: Self) -> bool:
        """Whether it may be the same machine: as far as both files say, it is."""
        known = self.identity and other.identity
        return self.id == other.id and (not known or self.identity == other.identity)


class Titles(Struct, frozen=True, kw_only=True):
    """Names for display. The order is the order of display."""

    models: dict[str, str] = {}
    """Title of each model, by name."""
    frameworks: dict[str, str] = {}
    """Title of each framework, by name."""
    languages: dict[str, str] = {}
    """Language that each framework is called from, by name."""
    units: dict[str, tuple[str, int]] = {}
    """What one inference step of each model processes at full size: [unit, items], such as ['token', 128]."""
    others: Others = {}


class Run(Struct, frozen=True, kw_only=True):
    """What all records of a run share."""

    id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$")]
    """Name of the run; unique, and the stem of its journal, so that it leads to no other folder."""
    date: str
    """When it began. ISO 8601, UTC."""
    commit: str | None = None
    """Commit of the working tree, with -dirty where it had changes; null without git."""
    command: str = ""
    """The command line."""
    platform: Platform
    """The machine."""
    threads: Count
    """Thread budget of every engine. Unit: threads."""
    plugin: str = ""
    """Version of pytest-inferena."""
    titles: Titles = Titles()
    """Names for display."""
    columns: tuple[str, ...] = ()
    """Names of the columns that reports show beside those of the metrics, such as load."""
    others: Others = {}


class VerdictFigures(Struct, frozen=True, kw_only=True):
    """The gate's figures, of the tensor nearest to its limit or furthest beyond it."""

    outcome: Annotated[Outcome, Meta(extra_json_schema={"enum": JUDGED})]
    """The gate's answer."""
    tensor: str | None = None
    """Name of the tensor: an output, 'loss', or 'grad:PARAMETER'."""
    nrmse: Number | None = None
    """Its error against golden, RMSE(golden, x) / max(RMS(golden), s); null where it has none (missing, wrong shape,
    not finite). Unit: 1."""
    limit: Number | None = None
    """The largest NRMSE that passes for this tensor. Unit: 1."""
    reference: Number | None = None
    """NRMSE of the reference, the same module run eagerly in the declared dtype. Unit: 1."""
    index: tuple[Whole, ...] | None = None
    """Where in the tensor the error is largest."""
    tensors: Whole | None = None
    """How many tensors were judged. Unit: tensors."""
    loss: int | float | None = None
    """The framework's own training loss; null for other metrics. Unit: 1."""
    loss_golden: int | float | None = None
    """The golden training loss; null for other metrics. Unit: 1."""
    message: str = ""
    """The finding in a sentence, with figures."""
    others: Others = {}

    def __post_init__(self) -> None:
        if self.outcome not in JUDGED:
            raise ValueError(f"outcome: expected one of {', '.join(map(repr, JUDGED))}, found {str(self.outcome)!r}")


class Noise(Struct, frozen=True, kw_only=True):
    """How quiet the machine was while a cell was measured; of several processes, when it was least so."""

    calibration: tuple[Number, Number]
    """How fast the machine was, before and after: what the slowest CPU of the budget hashes (SHA-256). Unit: MiB/s."""
    limit: Number
    """The share by which the two may differ: 3 %, or three times what calibrations of this run differ by. Unit: 1."""
    repeated: Whole = 0
    """How often the cell was measured again because they differed by more; the quietest measurement counts. Unit: 1."""
    load: Number | None = None
    """Load average of the last minute before it. Unit: processes."""
    steal: Number | None = None
    """Share of time for which the host gave the budget's CPUs to others. Unit: 1."""
    pressure: dict[str, Number] = {}
    """Share of time in which something on the machine waited for cpu, io or memory, by that name. Unit: 1."""
    switches: Whole | None = None
    """How often a thread of the engine had to leave its CPU to another. Unit: 1."""
    migrations: Whole | None = None
    """How often a thread of the engine was moved to another CPU. Unit: 1."""
    frequency: Number | None = None
    """Mean frequency of the budget's CPUs, right after it. Unit: MHz."""
    throttled: Whole | None = None
    """How often one of them was slowed down because it was too hot. Unit: 1."""
    others: Others = {}

    @property
    def moved(self) -> float:
        """The share by which the calibrations differ."""
        low, high = sorted(self.calibration)
        return high / low - 1 if low else 0.0

    @property
    def noisy(self) -> bool:
        """Whether that is more than noise of this run explains."""
        return self.moved > self.limit


class Record(Cell, frozen=True, kw_only=True):
    """One cell's outcome and figures. A later record of the same key replaces an earlier one."""

    outcome: Outcome
    """What became of the cell; exactly one. `published` is somebody else's figure, of which nothing was verified."""
    flags: tuple[str, ...] = ()
    """Remarks that never change the outcome: few (under 10 samples where more were asked for), threads (more CPU
    seconds per second than 1.1 times the thread budget), noisy (the machine's speed before and after it differs, also
    where it was measured again), implausible, resumed, xpass (right, though a known issue was declared, so its test
    fails), software (its device is a driver for CPUs), fallback (some operators ran on the CPU, though another device
    was asked for)."""
    reason: str = ""
    """Why the outcome is not pass, in a sentence; empty for pass."""
    median: Number | None = None
    """Median of the samples, of several processes the median of theirs; null where nothing was timed. Unit: seconds."""
    interval: tuple[Number, Number] | None = None
    """95 % interval of the median, low and high; null where fewer than two samples. Where several processes were
    measured, it is that of their bootstrap. Unit: seconds."""
    unit: Literal["s"] = "s"
    """Unit of median, interval and samples."""
    samples: tuple[tuple[Number, ...], ...] = ()
    """Every raw duration, of one whole step each, in the order of measuring: a list for each process of the engine.
    Unit: seconds."""
    verdict: VerdictFigures | None = None
    """What the gate found; null where nothing was judged."""
    noise: Noise | None = None
    """How quiet the machine was; null where nothing was timed, or nobody looked."""
    load: Number | None = None
    """How long the engine took from the weights file to parameters in its memory, in the last process that measured;
    null where it did not come to that, and in older files. Unit: seconds."""
    memory: Number | None = None
    """Resident memory of the worker and of what it started, at its peak in what was timed, over what the worker took
    before it loaded anything; of several processes the largest. Null where nobody knows. Unit: MiB."""
    flop: Whole | None = None
    """Floating-point operations of one step of the Program: those of products of matrices, convolutions and attention,
    a multiplication and an addition as two; null where it was not prepared, and in older files. Unit: 1."""
    peak: Number | None = None
    """What the machine reaches in float32 with the thread budget, by a product of matrices; null where nobody asked
    for it, or nobody knows. Unit: GFLOP/s."""
    missing: dict[str, str] = {}
    """Why such a figure is null although the cell was measured, by the name of the field."""
    attempts: tuple[Outcome, ...] = ()
    """Outcome of every attempt at the cell, where the run made several: it was run again, repeated, or is measured by
    several tests. This record is the last of those attempts that pytest counts, or the last of the bad ones."""
    ran: str = ""
    """What really ran, read from the runtime; empty where nothing ran."""
    versions: dict[str, str] = {}
    """Version of each distribution that the engine consists of, by name."""
    revision: str | None = None
    """Source revision of the framework, where a version does not name it."""
    hashes: dict[str, str | None] = {}
    """SHA-256 of program, weights, inputs and adapter; hexadecimal, null where there was none."""
    extra: dict[str, Any] = {}
    """Further figures: entry that ran, compile_s of it (seconds), cpu_per_wall (CPU seconds per second), warmups
    (steps), steps_per_sample (steps), loop (what the timing loop was asked for, of each process), footprint_mib (MiB),
    expanded (how many of each operator that the engine lacks), uncovered (the parameters that no verdict covers),
    uneven (layer → RMS of its activations, where that is far from 1), workload (name of what was prepared), found_out
    (what was found out about the model, or chosen for it, because nobody said it: module, parameters, inputs, loss,
    unit, items), benchmark (what pytest-benchmark gets beside the figures: group, extra_info)."""
    started: str = ""
    """When the cell began. ISO 8601, UTC."""
    wall: Number = 0
    """How long the cell took, preparation and judging included. Unit: seconds."""
    command: str = ""
    """Command that runs this one cell again."""
    log: str = ""
    """Tail of the worker's log, at most 4 KiB."""
    others: Others = {}

    @property
    def explain(self) -> str:
        """The cell's, with what was named for this run alone: models, and seeded weights instead of a model's own."""
        try:
            words = shlex.split(self.command)
        except ValueError:  # somebody else wrote it
            words = []
        told = [
            word.replace("--inferena-model=", "--model=", 1) for word in words if word.startswith("--inferena-model=")
        ]
        told += ["--weights=seeded"] if "--inferena-weights=seeded" in words else []
        return " ".join([super().explain, *map(shlex.quote, told)])

    @property
    def durations(self) -> tuple[float, ...]:
        """The samples of all processes. Unit: seconds."""
        return tuple(sample for process in self.samples for sample in process)

    @classmethod
    def of(cls, cell: Cell, outcome: Outcome, **fields: Any) -> Self:
        """What became of a cell."""
        return cls(**asdict(cell), outcome=outcome, **fields)
