"""Inference Arena's published tables as external platforms: shown beside ours, marked, and never called right.

Each of its figures is of a single call, and its own gate looked at the loss only. What it called different is wrong
here too.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pytest_inferena.cell import METRICS, Outcome
from pytest_inferena.collect.model import Model
from pytest_inferena.files import read_plain
from pytest_inferena.results import Record, Results, ResultsError, Run, typed
from pytest_inferena.results.reading import LARGEST
from pytest_inferena.worker.strict import parse

STATUS = {
    "matching": (Outcome.PUBLISHED, "published by Inference Arena; nothing of it was verified here"),
    "different": (Outcome.FAIL, "Inference Arena itself says that the loss is different"),
    "failed": (Outcome.ERROR, "Inference Arena says that it failed there"),
    "unsupported": (Outcome.UNSUPPORTED, "Inference Arena says that it is not supported there"),
}
FIELDS = {"compile": "compile_s", "inference": "inference_ms", "latency": "latency_ms", "training": "training_ms"}


def read_arena(path: Path, models: Iterable[Model]) -> list[Results]:
    """Read published tables, a run for each platform.

    Args:
        path: JSON with `source` and `rows`: model, platform, framework, version, revision, backend, status, compile_s,
            inference_ms, latency_ms, training_ms, loss.
        models: Ours. Those whose files say what Inference Arena calls them stand beside its figures.

    Raises:
        ResultsError: The file is no such file.

    """
    try:
        document = parse(read_plain(path, LARGEST))
        source, platforms = str(document["source"]), dict[str, list[Any]]()
        for row in document["rows"]:
            platforms.setdefault(str(row["platform"]), []).append(row)
        revision = re.search(r"revision (\w+)", source)
        date = re.search(r"\d{4}-\d{2}-\d{2}", source)
        origin = {
            "date": f"{date[0]}T00:00:00Z" if date else "",
            "commit": revision[1] if revision else None,
            "command": source,
        }
        known = {model.arena: model for model in models if model.arena}
        return [_run(name, origin, rows, known) for name, rows in platforms.items()]
    except OSError as error:
        raise ResultsError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, LookupError, TypeError) as error:
        raise ResultsError(f"{path}: holds no published tables of Inference Arena: {error!r}") from error


def _run(platform: str, origin: Mapping[str, Any], rows: list[Any], known: Mapping[str, Model]) -> Results:
    machine = _name(platform)
    device = "cpu" if re.search(r"\b(Xeon|EPYC|Core|Ryzen)\b", platform) else "gpu"
    models = {str(row["model"]): _name(row["model"]) for row in rows}
    models |= {other: known[other].name for other in models.keys() & known.keys()}
    titles = {name: known[other].title if other in known else other for other, name in models.items()}
    frameworks = {_name(row["framework"], ""): str(row["framework"]) for row in rows}
    run = typed(
        Run,
        {
            **origin,
            "id": f"inference-arena-{machine}-{hashlib.sha256(origin['command'].encode()).hexdigest()[:8]}",
            "threads": 1,
            "platform": {"id": machine, "cpu": platform, "devices": ["cpu", platform][: 1 if device == "cpu" else 2]},
            "titles": {"models": titles, "frameworks": frameworks},
        },
    )
    return Results(run, tuple(record for row in rows for record in _records(row, models[row["model"]], device)))


def _records(row: Mapping[str, Any], model: str, device: str) -> Iterator[Record]:
    """A record for each metric. A row that is wrong or missing has records too, with its reason."""
    outcome, reason = STATUS[row["status"]]
    for metric in METRICS:
        value = row[FIELDS[metric]]
        if value is None and not outcome.absent and not outcome.broke:
            continue  # it says nothing of why
        seconds = None if value is None else float(value) / (1 if metric == "compile" else 1000)
        yield typed(Record, {
            "model": model, "framework": _name(row["framework"], ""),
            "backend": _name(row["backend"] or "published"), "device": device, "metric": metric, "threads": 1,
            "outcome": outcome, "reason": reason, "median": seconds,
            "samples": [] if seconds is None else [[seconds]], "ran": str(row["backend"] or ""),
            "versions": {str(row["framework"]): str(row["version"])} if row["version"] else {},
            "revision": row["revision"],
        })  # fmt: skip


def _name(text: str, between: str = "_") -> str:
    return re.sub(r"[^a-z0-9]+", between, str(text).lower()).strip("_") or "unknown"
