"""Makes tables of results: which rows stand together, and which figures are best. All formats start from these."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pytest_inferena.cell import METRICS, Engine, Outcome, Work
from pytest_inferena.report.columns import Column, asked, shown
from pytest_inferena.report.facts import Fact, step, table_facts
from pytest_inferena.report.names import grouped, labels_of, order_of, place, platform_of, title_of, works
from pytest_inferena.report.texts import (
    ABSENT,
    MISSING,
    Text,
    competes,
    heading,
    is_struck,
    is_there,
    loss_text,
    note_text,
    short_text,
)
from pytest_inferena.results import Record, Results, Run

LEGEND = (
    ("best", "best of its column; all of those whose 95 % intervals overlap with the best"),
    ("≈", "CLOSE: right, but at reduced precision"),
    ("†", "the engine ran the baseline's graph of forward and backward; the others differentiate by themselves"),
    ("struck", "FAIL: the result is wrong, so the figure does not count"),
    ("✗", "it broke"),
    ("—", "unsupported"),
    ("·", "not part of this run"),
    ("no ±", "a single sample, as compile times are: the next one may lie anywhere, so it is never best"),
)


@dataclass(frozen=True)
class Row:
    """One engine on one platform. Its texts are in the order of the table's columns, after the first two."""

    platform: str
    framework: str
    texts: tuple[Text, ...]


@dataclass(frozen=True)
class Table:
    """All engines that did the same work.

    Attributes:
        title: The model, and whatever of size, weights, dtype, batch, seq and inputs is not the default.
        columns: Headings, `Platform` and `Framework` first.
        rows: In the order of the header's titles.
        notes: What the cells' numbers stand for; the first is number 1.
        facts: What has to be known to read the figures, as (name, text).
        asked: How many of the columns, the last, are there because they were asked for.

    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    facts: tuple[Fact, ...]
    asked: int = 0


def tables(results: Results) -> list[Table]:
    """Arrange all records. Each is in exactly one table."""
    groups = works(results.records)
    names = sorted(groups, key=lambda work: order_of(results.run, work))
    labels = labels_of(results)
    return [_table(results.run, work, groups[work], labels) for work in names]


def legend(found: Iterable[Table]) -> list[tuple[str, str]]:
    """The lines of `LEGEND` whose marks stand in some tables. Of what was asked for, notes say why it is missing."""
    rows = [row.texts[: len(row.texts) - table.asked] for table in found for row in table.rows]
    texts = [text for row in rows for text in row]
    used = {mark for mark, _ in LEGEND if any(mark in text.text for text in texts)}
    used |= {"best"} if any(text.best for text in texts) else set()
    used |= {"struck"} if any(text.struck for text in texts) else set()
    figures = [text.text for row in rows for text in row[:-1] if text.text[:1].isdecimal()]  # the last is the loss
    used |= {"no ±"} if any("±" not in figure for figure in figures) else set()
    return [(mark, meaning) for mark, meaning in LEGEND if mark in used]


def _table(run: Run, work: Work, records: Sequence[Record], labels: Mapping[Engine, str]) -> Table:
    order = [*run.titles.frameworks]
    engines = grouped(records, lambda record: record.engine)
    installed = [engine for engine, cells in engines.items() if all(map(is_there, cells))]
    names = sorted(installed, key=lambda engine: (place(order, engine.framework), labels[engine]))
    units = {record.metric: record.unit for record in records}
    metrics = [*METRICS, *sorted(units.keys() - set(METRICS))]
    grid = [{record.metric: record for record in engines[name]} for name in names]
    notes = _Notes()
    bests = {metric: _best([line.get(metric) for line in grid]) for metric in metrics}
    extra = asked(run.columns, units, step(run, records)[0])
    rows = [
        Row(
            platform_of(run.platform, name.device),
            labels[name],
            (
                *_texts(line, metrics, bests, notes, labels[name]),
                *(_asked(run, column, line, notes, labels[name]) for column in extra),
            ),
        )
        for name, line in zip(names, grid, strict=True)
    ]
    return Table(
        title=title_of(run, work),
        columns=(
            "Platform",
            "Framework",
            *(heading(m, units.get(m, "s")) for m in metrics),
            "Loss",
            *(f"{column.title.capitalize()} ({column.unit})" for column in extra),
        ),
        rows=tuple(rows),
        notes=notes.texts(),
        facts=table_facts(run, records, labels),
        asked=len(extra),
    )


def _texts(
    line: Mapping[str, Record],
    metrics: Sequence[str],
    bests: Mapping[str, set[int]],
    notes: "_Notes",
    label: str,
) -> tuple[Text, ...]:
    texts = []
    for metric in metrics:
        record = line.get(metric)
        text = Text(short_text(record))
        if record is not None:
            note = notes.number(label, record)
            text = Text(text.text, id(record) in bests[metric], is_struck(record), note)
        texts.append(text)
    training = line.get("training")
    loss = Text(loss_text(training))
    if training is not None and (loss.text == ABSENT or training.outcome is Outcome.FAIL):
        struck = loss.text != ABSENT
        loss = replace(loss, struck=struck, note=notes.number(label, training))
    return (*texts, loss)


def _asked(run: Run, column: Column, line: Mapping[str, Record], notes: "_Notes", label: str) -> Text:
    """What stands in a column that was asked for. The note says why there is no figure."""
    found = column.of(run, line)
    if found is None:
        return Text(MISSING)
    record, figure = found
    note = notes.add(label, column.title, figure) if isinstance(figure, str) else None
    return Text(shown(figure), struck=note is None and is_struck(record), note=note)


def _best(column: Iterable[Record | None]) -> set[int]:
    """Find the best of a column, by identity: the least median, and all whose intervals overlap its own."""
    able = [record for record in column if record is not None and competes(record)]
    if len(able) < 2:  # a single one is not better than anything
        return set()
    spans = [(record.median, record.interval, id(record)) for record in able if record.interval]
    _, (low, high), _ = min(spans)
    return {name for _, span, name in spans if span[0] <= high and low <= span[1]}


class _Notes:
    """Numbers the notes of a table. An engine's cells with the same words share a note."""

    def __init__(self) -> None:
        self._metrics: dict[tuple[str, str], list[str]] = {}

    def number(self, label: str, record: Record) -> int | None:
        text = note_text(record)
        return self.add(label, record.metric, text) if text else None

    def add(self, label: str, what: str, text: str) -> int:
        names = self._metrics.setdefault((label, text), [])
        if what not in names:
            names.append(what)
        return [*self._metrics].index((label, text)) + 1

    def texts(self) -> tuple[str, ...]:
        found = self._metrics.items()
        return tuple(f"{label}, {', '.join(metrics)}: {text}" for (label, text), metrics in found)
