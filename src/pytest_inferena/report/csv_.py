"""Results as CSV, one row for each record. Times are in seconds, as in all result files."""

import csv
import io
from typing import Any

from pytest_inferena.cell import KEY
from pytest_inferena.results import Record, Results, Run

COLUMNS = (
    *KEY,
    "weights",
    "outcome",
    "flags",
    "reason",
    "median",
    "interval_low",
    "interval_high",
    "unit",
    "samples",
    "verdict_outcome",
    "verdict_tensor",
    "verdict_nrmse",
    "verdict_limit",
    "loss",
    "loss_golden",
    "ran",
    "versions",
    "revision",
    "started",
    "wall",
    "run",
    "platform",
    "commit",
)


def render(results: Results) -> str:
    """Render the key and figures of every record. Null is an empty field; `samples` is their number."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_row(results.run, record) for record in results.records)
    return text.getvalue()


def _row(run: Run, record: Record) -> list[Any]:
    low, high = record.interval or (None, None)
    verdict = record.verdict
    figures: list[Any] = [None] * 6
    if verdict:
        figures = [verdict.outcome, verdict.tensor, verdict.nrmse]
        figures += [verdict.limit, verdict.loss, verdict.loss_golden]
    return [
        *record.key,
        record.weights,
        record.outcome,
        " ".join(record.flags),
        record.reason,
        record.median,
        low,
        high,
        record.unit,
        len(record.durations),
        *figures,
        record.ran,
        "; ".join(f"{name} {version}" for name, version in record.versions.items()),
        record.revision,
        record.started,
        record.wall,
        run.id,
        run.platform.id,
        run.commit,
    ]
