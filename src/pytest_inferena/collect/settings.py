"""The options of a session, read once from pytest's configuration."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_inferena.cell import DEFAULTS, INPUTS, Cell
from pytest_inferena.collect.again import Call
from pytest_inferena.collect.loop import loop_of
from pytest_inferena.collect.placing import Placing
from pytest_inferena.engines.limits import Limits
from pytest_inferena.machine import thread_budget
from pytest_inferena.ranges import RangeError, seconds, whole
from pytest_inferena.report import ReportError, ReportTarget, parse_report_option
from pytest_inferena.report.regression import Rules
from pytest_inferena.system import joined

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_inferena.collect.target import Target

DEADLINES = {
    "prepare": 1800.0,
    "hello": 60.0,
    "load": 120.0,
    "compile": 900.0,
    "measure": 120.0,
    "outputs": 60.0,
}
TINY_COMPILE = 180.0
MOST_PROCESSES = 100
MOST_ELEMENTS = (1 << 31) - 1
WEIGHTS = ("own", "seeded", "package", "hub")
"""What --inferena-weights can say, beside a path."""


@dataclass(frozen=True)
class Settings:
    """What a session measures and how."""

    size: str
    weights: str
    """One of `WEIGHTS`, or a path; "" for those that are usual with each model."""
    threads: int
    dry_run: bool
    resume: bool
    results: Path | None
    reports: tuple[ReportTarget, ...]
    timeouts: Mapping[str, float]
    loop: Mapping[str, Any]
    """Fields of `worker.timing.Loop`. If `max_rounds` is 1, nothing is measured."""
    call: Call = field(compare=False)
    """What runs a test of its again."""
    passed: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables of the environment that workers and the preparer get beside those on the allow-list."""
    limits: Mapping[str, str] = field(default_factory=dict)
    """Limits of workers and the preparer that stand above those of adapter.toml: `memory`."""
    processes: int = 1
    """How many processes of an engine measure a cell, one after the other; 1 where nothing is measured."""
    placing: Placing = field(default_factory=Placing)
    """Which of several devices a backend uses."""
    calibrates: bool = True
    """Whether the machine is calibrated before and after each cell; never where nothing is measured."""
    base: str | None = None
    """The result file or revision that the run is compared with."""
    rules: Rules = field(default_factory=Rules)
    """What makes a run fail beside its base."""
    unused: tuple[str, ...] = ()
    """A sentence for each option of pytest-benchmark that was given and does not count."""
    columns: tuple[str, ...] = ()
    """Columns that reports show beside those of the metrics: names of `report.columns.KINDS`."""
    command: str = field(default="pytest", compare=False)

    @property
    def judges_only(self) -> bool:
        """Whether cells are judged and nothing is measured, as with --benchmark-disable."""
        return bool(self.loop["max_rounds"] == 1)

    def deadline(self, request: str, own: Mapping[str, float]) -> float:
        """Seconds that a request may take: from --inferena-timeout, else from adapter.toml, else from `DEADLINES`."""
        default = DEADLINES.get(request, 60.0)
        if request == "compile" and self.size == "tiny":
            default = TINY_COMPILE
        return self.timeouts.get(request, own.get(request, default))

    def weights_of(self, target: Target) -> str:
        """The weights that a target's model gets."""
        return self.weights or target.model.usual_weights

    def cell(self, target: Target, metric: str) -> Cell:
        """A target's cell of a metric, as this session measures it."""
        weights = self.weights_of(target)
        weights = weights if weights in WEIGHTS else f"path: {Path(weights).name}"
        return Cell(
            model=target.model.name, framework=target.framework.name, backend=target.backend.name,
            device=self.placing.device(target.backend), metric=metric, size=self.size, dtype=target.dtype,
            threads=self.threads, batch=target.batch, seq=target.seq, inputs=target.inputs,
            variant=target.backend.variant, weights=weights,
        )  # fmt: skip

    @classmethod
    def from_config(cls, config: pytest.Config) -> Settings:
        """Read and check the options.

        Raises:
            pytest.UsageError: a value is wrong; the message says which are right.
        """
        weights = config.getoption("inferena_weights") or ""
        if weights not in {*WEIGHTS, ""} and not Path(weights).exists():
            raise pytest.UsageError(
                f"--inferena-weights={weights}: no such file or folder; {', '.join(WEIGHTS)}, or a path to safetensors"
            )
        weights = weights if weights in {*WEIGHTS, ""} else str(Path(weights).resolve())
        results = config.getoption("inferena_results")
        try:
            loop, unused = loop_of(config)
            threads, processes = _threads(config), _processes(config)
            timeouts = {key: _seconds(key, value) for key, value in pairs("timeout", config).items()}
        except RangeError as error:
            raise pytest.UsageError(str(error)) from None
        try:
            reports = tuple(parse_report_option(option) for option in config.getoption("inferena_report") or ())
        except ReportError as error:
            raise pytest.UsageError(f"--inferena-report: {error}") from error
        return cls(
            size=config.getoption("inferena_size") or "full",
            weights=weights,
            threads=threads,
            processes=processes if loop["max_rounds"] > 1 else 1,
            dry_run=bool(config.getoption("inferena_dry_run")),
            resume=bool(config.getoption("inferena_resume")),
            results=Path(results) if results else None,
            reports=reports,
            timeouts=timeouts,
            loop=loop,
            calibrates=loop["max_rounds"] > 1,
            passed={name: os.environ[name] for name in config.getoption("inferena_env") or () if name in os.environ},
            limits=_limits(config.getoption("inferena_memory")),
            placing=Placing.of(config),
            base=config.getoption("inferena_compare"),
            rules=_rules(config),
            unused=unused,
            columns=_columns(config),
            command=joined(["pytest", *config.invocation_params.args]),
            call=Call.of(config, weights),
        )


def _threads(config: pytest.Config) -> int:
    given = config.getoption("inferena_threads")
    return thread_budget() if given is None else threads_of("--inferena-threads", given)


def threads_of(name: str, given: object) -> int:
    """A number of threads that this process may use.

    Raises:
        RangeError: it is none; the message begins with the name.
    """
    return whole(name, given, thread_budget(), f"this process may use 1 to {thread_budget()}")


def _processes(config: pytest.Config) -> int:
    given = config.getoption("inferena_processes")
    right = f"a cell takes 1 to {MOST_PROCESSES}"
    return 1 if given is None else whole("--inferena-processes", given, MOST_PROCESSES, right)


def _columns(config: pytest.Config) -> tuple[str, ...]:
    """Those of the command line, else those of the ini file."""
    option, ini = config.getoption("inferena_columns"), config.getini("inferena_columns")
    if option is None and not ini:
        return ()
    from pytest_inferena.report.columns import parse

    try:
        return parse(ini if option is None else [option])
    except ReportError as error:
        raise pytest.UsageError(f"{'inferena_columns' if option is None else '--inferena-columns'}: {error}") from None


def _rules(config: pytest.Config) -> Rules:
    given = config.getoption("inferena_fail_on")
    if given is None:
        return Rules()
    if config.getoption("inferena_compare") is None:
        raise pytest.UsageError(f"--inferena-fail-on={given}: what to compare with is missing, --inferena-compare=FILE")
    try:
        return Rules.parse(given)
    except ValueError as error:
        raise pytest.UsageError(f"--inferena-fail-on={given:.60}: {error}") from None


def _limits(memory: str | None) -> dict[str, str]:
    given = {} if memory is None else {"memory": memory}
    try:
        Limits.of(0, given)
    except ValueError as error:
        raise pytest.UsageError(f"--inferena-memory={error}") from None
    return given


def pairs(name: str, config: pytest.Config) -> dict[str, str]:
    """An option of the kind --inferena-NAME=KEY=VALUE, which may be given several times.

    Raises:
        pytest.UsageError: a value is not of that form.
    """
    pairs = {}
    for option in config.getoption(f"inferena_{name}") or ():
        key, equals, value = option.partition("=")
        if not equals or not key or not value:
            raise pytest.UsageError(f"--inferena-{name}={option}: NAME=VALUE is expected")
        pairs[key] = value
    return pairs


def counts(name: str, config: pytest.Config) -> tuple[int | None, ...]:
    """An option of the kind --inferena-NAME=N[,N…]; None where it is not given.

    Raises:
        pytest.UsageError: a value is no count.
    """
    given = config.getoption(f"inferena_{name}")
    if given is None:
        return (None,)
    try:
        found = [count_of(f"--inferena-{name}", word) for word in given.split(",")]
    except RangeError as error:
        raise pytest.UsageError(f"{error}, with commas between several") from None
    return tuple(dict.fromkeys(found))


def count_of(name: str, given: object) -> int:
    """A number of elements or of tokens.

    Raises:
        RangeError: it is none; the message begins with the name.
    """
    return whole(name, given, MOST_ELEMENTS)


def kinds_of_inputs(config: pytest.Config) -> tuple[str, ...]:
    """--inferena-inputs=KIND[,KIND].

    Raises:
        pytest.UsageError: there is no such kind.
    """
    given = config.getoption("inferena_inputs")
    given = DEFAULTS["inputs"] if given is None else given
    words = [word.strip() for word in given.split(",")]
    if not {*words} <= {*INPUTS}:
        raise pytest.UsageError(f"--inferena-inputs={given}: there are {', '.join(INPUTS)}, with commas between them")
    return tuple(dict.fromkeys(words))


def _seconds(key: str, value: str) -> float:
    if key not in DEADLINES:
        raise pytest.UsageError(f"--inferena-timeout={key}: phases are {', '.join(DEADLINES)}")
    return seconds(f"--inferena-timeout={key}", value)
