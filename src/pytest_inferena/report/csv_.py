"""Results as CSV, one row for each record. Times are in seconds, as in all result files."""

import csv
import io
from collections.abc import Sequence
from typing import Any

from pytest_inferena.cell import KEY
from pytest_inferena.report.columns import KINDS
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
    """Render the key and figures of every record. Null is an empty field; `samples` is their number.

    Columns that were asked for follow, and behind each, as NAME_missing, why it has no figure.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    run, asked = results.run, [name for name in results.run.columns if name in KINDS]
    writer.writerow([*COLUMNS, *(head for name in asked for head in (name, f"{name}_missing"))])
    writer.writerows([*_row(run, record), *_asked(run, record, asked)] for record in results.records)
    return text.getvalue()


def _asked(run: Run, record: Record, names: Sequence[str]) -> list[Any]:
    kinds = [KINDS[name] for name in names]
    figures = [kind.figure(run, record) if kind.has(record.metric) else None for kind in kinds]
    return [field for one in figures for field in ((None, one) if isinstance(one, str) else (one, None))]


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
