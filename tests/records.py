"""Hand-made records and runs for tests."""

from collections.abc import Sequence
from typing import Any

from pytest_inferena.results import Record, Results, Run, typed

RUN: dict[str, Any] = {
    "id": "20261121-120000-1a2b",
    "date": "2026-11-21T12:00:00Z",
    "commit": "1a2b3c4",
    "command": "pytest benchmarks --inferena-report=md:report.md",
    "platform": {
        "id": "acme-one-2c",
        "identity": "0123456789abcdef",
        "cpu": "Acme One @ 2.10GHz",
        "os": "Acme Linux 1 (Linux 6.8 x86_64)",
        "memory_mib": 8192,
        "devices": ["cpu", "Acme G1"],
        "driver": "570.1",
        "python": "3.11.9",
    },
    "threads": 2,
    "plugin": "0.1.0",
    "titles": {
        "models": {"unet": "Small U-Net", "bert": "BERT"},
        "frameworks": {"zeta": "Zeta", "alpha": "Alpha", "mu": "Mu"},
        "units": {"unet": ["image", 1], "bert": ["token", 128]},
    },
}


def make_run(**changes: Any) -> Run:
    """Make a header; the changes replace fields."""
    return typed(Run, {**RUN, **changes})


def make_record(metric: str = "inference", framework: str = "alpha", **changes: Any) -> Record:
    """Make a passing record of 10 samples around 232 ms; the changes replace fields."""
    fields = {
        "model": "unet",
        "framework": framework,
        "backend": "main",
        "device": "cpu",
        "metric": metric,
        "threads": 2,
        "outcome": "pass",
        "median": 0.232,
        "interval": [0.230, 0.234],
        "samples": [[0.230, 0.231, 0.231, 0.231, 0.232, 0.232, 0.233, 0.233, 0.234, 0.235]],
        "verdict": make_verdict(),
        "ran": f"{framework} cpu",
        "versions": {framework: "1.2.3"},
        "hashes": {"program": "aaaa1111" * 8, "weights": "bbbb2222" * 8},
        "started": "2026-11-21T12:00:01Z",
        "wall": 3.5,
        "command": "pytest benchmarks -k unet",
    }
    return typed(Record, {**fields, **changes})


def make_verdict(**changes: Any) -> dict[str, Any]:
    """Make a passing verdict; the changes replace fields."""
    fields = {
        "outcome": "pass",
        "tensor": "output",
        "nrmse": 2.1e-7,
        "limit": 1e-5,
        "reference": 1.5e-7,
        "index": [0, 3],
        "tensors": 1,
        "loss": None,
        "loss_golden": None,
        "message": "output agrees",
    }
    return {**fields, **changes}


def timed(median: float, half: float, **changes: Any) -> dict[str, Any]:
    """Return the fields of a timing: a median and half its interval, in seconds."""
    interval = [median - half, median + half]
    return {"median": median, "interval": interval, "samples": [interval * 5], **changes}


def broken(outcome: str, reason: str) -> dict[str, Any]:
    """Return the fields of a cell without a figure."""
    return {
        "outcome": outcome,
        "reason": reason,
        "median": None,
        "interval": None,
        "samples": [],
        "verdict": None,
    }


def make_results(records: Sequence[Record], **changes: Any) -> Results:
    """Make results of a run whose header the changes amend."""
    return Results(make_run(**changes), tuple(records))


def sample_results() -> Results:
    """Make one table with an example of every outcome that a report shows."""
    single: dict[str, Any] = {"median": 1.234, "interval": None, "samples": [[1.234]]}
    loss = make_verdict(tensor="grad:stem.weight", nrmse=2.1e-6, limit=1e-4, tensors=9)
    loss |= {"loss": 0.12345678, "loss_golden": 0.1234567}
    close = make_verdict(outcome="close", nrmse=1.2e-3, message="output is near")
    wrong = make_verdict(outcome="fail", nrmse=1.0, message="output is all zeros; NRMSE 1.0 of limit 1e-5")
    not_there = broken("not_installed", "needs zeta: pip install zeta")
    return make_results(
        [
            *[make_record(metric, "zeta", **not_there) for metric in ("compile", "inference", "latency")],
            make_record("compile", **single),
            make_record("inference", flags=["resumed"]),
            make_record("latency", **timed(0.00912, 0.0001)),
            make_record("training", verdict=loss, **timed(1.208, 0.012, flags=["few"], samples=[[1.196, 1.208, 1.22]])),
            make_record("compile", "mu", **{**single, "median": 0.5}),
            make_record("inference", "mu", verdict=close, outcome="close", **timed(0.1, 0.0005)),
            make_record("latency", "mu", outcome="fail", verdict=wrong, **timed(0.001, 0)),
            make_record("training", "mu", **broken("crash", "killed by SIGSEGV")),
            make_record("inference", "mu", backend="fast", **broken("timeout", "compile took over 900 s")),
            make_record("training", "mu", backend="fast", **broken("unsupported", "operator aten.foo")),
        ]
    )
