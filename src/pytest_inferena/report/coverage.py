"""What works: every engine × model × metric with its verdict, and the reason for every cell that has none."""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from msgspec.structs import asdict, replace
from tabulate import tabulate

from pytest_inferena.cell import DEFAULTS, METRICS, Engine, Outcome
from pytest_inferena.report.markdown import escape
from pytest_inferena.report.names import grouped, labels_of, place, title_of
from pytest_inferena.report.texts import ABSENT, BROKEN, CLOSE, MISSING, PUBLISHED, clean, note_text
from pytest_inferena.results import Record, Results, Titles

RIGHT = "✓"
LEGEND = "✓ PASS, ≈ CLOSE, ✗ FAIL or broken, — unsupported or not installed, · not part of this run"


def combined(found: Sequence[Results]) -> Results:
    """Several runs as one. Of cells with the same key the latest counts.

    Args:
        found: at least one run. The result has the header of the latest, with the titles and processors of all.
    """
    ordered = sorted(found, key=lambda results: results.run.date)
    records = {record.key: record for results in ordered for record in results.records}
    titles: dict[str, dict[str, Any]] = {name: {} for name in Titles.__struct_fields__}
    for results in ordered:
        for kind, names in asdict(results.run.titles).items():
            titles[kind] |= names
    processors = dict.fromkeys(results.run.platform.cpu for results in ordered)
    platform = replace(ordered[-1].run.platform, cpu=", ".join(processors))
    run = replace(ordered[-1].run, titles=Titles(**titles), platform=platform)
    return Results(run, tuple(records.values()))


def cells(results: Results) -> list[dict[str, Any]]:
    """Every cell with its verdict and, where it is not a plain PASS, the reason."""
    labels = labels_of(results)
    return [
        {
            "model": record.model,
            **record.engine._asdict(),
            "metric": record.metric,
            "size": record.size,
            "title": f"{labels[record.engine]}, {_title(results, record)}",
            "outcome": record.outcome,
            "reason": clean(record.reason),
        }
        for record in results.records
    ]


def render(results: Results) -> str:
    """Render a page in Markdown: a grid of engines and models with a mark for each metric, counts, reasons.

    The longer side goes down. If that is the models', the last row has each engine's share of right cells.
    """
    labels, run = labels_of(results), results.run
    known = [*run.titles.models]
    models = {_title(results, record): record.model for record in results.records}
    titles = sorted(models, key=lambda title: place(known, models[title]))
    engines = grouped(results.records, lambda record: record.engine)
    order = [*run.titles.frameworks]
    names = sorted(engines, key=lambda engine: (place(order, engine.framework), labels[engine]))
    metrics = [metric for metric in METRICS if any(record.metric == metric for record in results.records)]
    columns = []
    for name in names:
        found = grouped(engines[name], lambda record: _title(results, record))
        columns.append([escape(labels[name]), *(_marks(found.get(title, []), metrics) for title in titles)])
    rows, heads = columns, ["Engine", *map(escape, titles)]
    if len(titles) > len(names):
        shares = ["right", *(_shares(engines[name], metrics) for name in names)]
        (_, *heads), *rows = [*zip(["Engine", *map(escape, titles)], *columns, strict=True), shares]
        heads = ["Model", *heads]
    title = f"# Coverage on {escape(clean(run.platform.cpu))}"
    if not results.records:
        return f"{title}\n\nNo cell was recorded.\n"
    blocks = [
        title,
        f"{_counts(results.records)} Marks stand for {', '.join(metrics)}, in this order: {LEGEND}.",
        tabulate(rows, heads, tablefmt="pipe", disable_numparse=True),
        *_reasons(results, labels),
    ]
    return "\n\n".join(filter(None, blocks)) + "\n"


def _title(results: Results, record: Record) -> str:
    """Name the model and its dimensions. Sizes and weights are not told apart."""
    one = {name: DEFAULTS[name] for name in ("size", "weights")}
    return title_of(results.run, record.work._replace(threads=results.run.threads, **one))


def _marks(records: Iterable[Record], metrics: Iterable[str]) -> str:
    """One mark for each metric. Of several sizes or weights the last counts."""
    marks = {record.metric: _mark(record.outcome) for record in records}
    return " ".join(marks.get(metric, MISSING) for metric in metrics)


def _shares(records: Iterable[Record], metrics: Iterable[str]) -> str:
    """Per cent of an engine's cells that PASS or are CLOSE, for each metric; 100 where all are."""
    found = grouped(records, lambda record: record.metric)
    right = {metric: sum(record.outcome.right for record in found[metric]) for metric in found}
    return " ".join(f"{100 * right[m] // len(found[m])} %" if m in found else MISSING for m in metrics)


def _mark(outcome: Outcome) -> str:
    if outcome.right:
        return CLOSE if outcome is Outcome.CLOSE else RIGHT
    return ABSENT if outcome.absent else PUBLISHED if outcome is Outcome.PUBLISHED else BROKEN


def _counts(records: Sequence[Record]) -> str:
    good = sum(record.outcome.right for record in records)
    wrong = sum(_mark(record.outcome) == BROKEN for record in records)
    text = f"{good} of {len(records)} cells PASS or are CLOSE"
    return f"{text}, {wrong} FAIL or broke." if wrong else f"{text}, none is wrong."


def _reasons(results: Results, labels: Mapping[Engine, str]) -> list[str]:
    """What every engine lacks, and why. Cells with the same reason share a line."""
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    engines: dict[str, set[tuple[str, str]]] = {}
    for record in results.records:
        label, cell = labels[record.engine], (_title(results, record), record.metric)
        engines.setdefault(label, set()).add(cell)
        if record.outcome is not Outcome.PASS:
            found.setdefault((label, note_text(record)), []).append(cell)
    lines = [
        f"- {escape(label)}: {escape(text)} ({escape(_where(cells, engines[label]))})"
        for (label, text), cells in found.items()
    ]
    return ["## Reasons", "\n".join(lines)] if lines else []


def _where(cells: Sequence[tuple[str, str]], engine: AbstractSet[tuple[str, str]]) -> str:
    """Name some of an engine's cells: all, one metric of all models, or each model with its metrics."""
    if set(cells) == engine:
        return "all cells"
    metrics: dict[str, list[str]] = {}
    for model, metric in cells:
        metrics.setdefault(model, []).append(metric)
    (first, *_), sets = metrics.values(), {tuple(found) for found in metrics.values()}
    if len(sets) == 1 and metrics.keys() == {model for model, _ in engine} and len(metrics) > 1:
        return f"{', '.join(first)} of all models"
    return ", ".join(f"{model} {' '.join(found)}" for model, found in metrics.items())
