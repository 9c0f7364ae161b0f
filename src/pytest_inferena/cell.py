"""A cell: a model on a framework's backend, measured in one way; its id, its key, and what can become of it."""

from __future__ import annotations

import shlex
from enum import StrEnum
from typing import Annotated, NamedTuple, TypeAlias

from msgspec import Meta, Struct
from msgspec.structs import fields

ENTRIES = {"compile": "inference", "inference": "inference", "latency": "latency", "training": "training"}
"""Metric → the entry of the Program that it runs, in the order of running."""
METRICS = tuple(ENTRIES)

INPUTS = ("noise", "smooth")
"""What the inputs are: those of the model, or smooth ones in their place."""

Count: TypeAlias = Annotated[int, Meta(ge=1)]
Key: TypeAlias = tuple[str | int | None, ...]


class Outcome(StrEnum):
    """What became of a cell; exactly one."""

    PASS = "pass"  # noqa: S105 - no password
    CLOSE = "close"
    FAIL = "fail"
    CRASH = "crash"
    TIMEOUT = "timeout"
    OOM = "oom"
    UNSUPPORTED = "unsupported"
    NOT_INSTALLED = "not_installed"
    ERROR = "error"
    PUBLISHED = "published"

    @property
    def right(self) -> bool:
        """The engine computed what PyTorch computes."""
        return self in {Outcome.PASS, Outcome.CLOSE}

    @property
    def judged(self) -> bool:
        """The gate has given a verdict."""
        return self.right or self is Outcome.FAIL

    @property
    def absent(self) -> bool:
        """There was nothing to run."""
        return self in {Outcome.UNSUPPORTED, Outcome.NOT_INSTALLED}

    @property
    def broke(self) -> bool:
        """It ran and did not come to its end."""
        return not self.judged and not self.absent and self is not Outcome.PUBLISHED


class Engine(NamedTuple):
    """The part of a cell that says what measured."""

    framework: str
    backend: str
    device: str
    variant: str


class Work(NamedTuple):
    """The part of a cell that says what was done: figures that differ in any of it never share a table."""

    model: str
    size: str
    weights: str
    dtype: str
    batch: int | None
    seq: int | None
    inputs: str
    threads: int


# A record is a cell too. It is read from files, so msgspec checks these fields, and each stands only here.
class Cell(Struct, frozen=True, kw_only=True):
    """What is measured. Every field but `weights` is part of the key."""

    model: str
    """Name of the model: the stem of its file. Part of the key."""
    framework: str
    """Name of the framework: its adapter's folder. Part of the key."""
    backend: str
    """Name of the framework's backend that was asked for. Part of the key."""
    device: str
    """Device that was asked for, such as cpu, cuda or cuda:1. Part of the key."""
    metric: str
    """What was timed: compile, inference, latency, training, or one that another plugin defines. Part of the key."""
    size: str = "full"
    """Configuration of the model: full is the published one, tiny has the same operators. Part of the key."""
    dtype: str = "float32"
    """Declared type of parameters and activations. Part of the key."""
    threads: Count
    """Thread budget that the engine was given. Part of the key. Unit: threads."""
    batch: Count | None = None
    """Batch size; null is the model's own. Part of the key. Unit: samples."""
    seq: Count | None = None
    """Sequence length; null is the model's own. Part of the key. Unit: tokens."""
    inputs: str = INPUTS[0]
    """noise: the inputs that the model comes with; smooth: a picture, a chirp or a text that repeats itself in their
    place. Part of the key."""
    variant: str = "vanilla"
    """vanilla: the engine as it comes; tuned: with settings of its own. Part of the key."""
    weights: str = "seeded"
    """Where the weights come from: 'seeded', 'package: NAME VERSION', 'path: NAME' or 'hub: ID'."""

    @property
    def id(self) -> str:
        """What pytest calls it, beside the metric: `my_net-my_engine-cpu`, and `-batch4-bfloat16` behind it."""
        names = self.model, self.framework, self.backend, self.device
        return id_of(names, self.dtype, self.batch, self.seq, self.inputs)

    @property
    def key(self) -> Key:
        """What identifies a record for merge, resume and compare: its values of `KEY`."""
        return tuple(getattr(self, name) for name in KEY)

    @property
    def engine(self) -> Engine:
        """What measures it."""
        return Engine(self.framework, self.backend, self.device, self.variant)

    @property
    def work(self) -> Work:
        """What is done in it."""
        return Work(self.model, self.size, self.weights, self.dtype, self.batch, self.seq, self.inputs, self.threads)

    @property
    def entry(self) -> str:
        """The entry of the Program whose results are right for it; an engine without autograd runs `joint` for it."""
        return ENTRIES[self.metric]

    @property
    def explain(self) -> str:
        """The command that says which operator goes wrong; of a path to weights a cell has the name only."""
        given = {"size": self.size, "weights": self.weights.partition(":")[0]}
        told = [f"--{name}={value.upper() if value == 'path' else value}" for name, value in given.items()
                if value != DEFAULTS[name]]  # fmt: skip
        return shlex.join(["inferena", "explain", str(self), *told])

    def __str__(self) -> str:
        return f"{self.id}-{self.metric}"


KEY = tuple(name for name in Cell.__struct_fields__ if name != "weights")
DEFAULTS = {field.name: field.default for field in fields(Cell) if not field.required}


def id_of(names: tuple[str, str, str, str], dtype: str, batch: int | None, seq: int | None, inputs: str) -> str:
    """Name what a worker serves.

    Args:
        names: Model, framework, backend and device, which is told where it is neither the CPU nor the backend's name.
        dtype: Told where it is not the usual one.
        batch: None for the model's own.
        seq: None for the model's own.
        inputs: Told where they are not the usual ones.
    """
    *parts, device = names
    backend = parts[-1]
    parts += [device] if device not in {"cpu", backend} else []
    parts += [f"{name}{count}" for name, count in (("batch", batch), ("seq", seq)) if count is not None]
    parts += [inputs] if inputs != DEFAULTS["inputs"] else []
    parts += [dtype] if dtype != DEFAULTS["dtype"] else []
    return "-".join(parts)
