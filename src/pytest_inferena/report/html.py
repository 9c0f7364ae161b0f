"""Results as one HTML file that opens anywhere and asks the network for nothing.

The page's program is built from page/ by `npm run build` there; this module gives it the data.
"""

import json
import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

from pytest_inferena.cell import METRICS
from pytest_inferena.report.columns import Column, asked, shown
from pytest_inferena.report.facts import expanded, footprint, run_facts, shown_size, step
from pytest_inferena.report.names import labels_of, order_of, place, platform_of, title_of, works
from pytest_inferena.report.texts import clean, competes, display, is_struck, is_there, loss_text, note_text, short_text
from pytest_inferena.results import Record, Results, Run

TEMPLATE = Path(__file__).parent / "page" / "page.html"
MARK = "/*results*/null"
"""Where the template takes its data."""
LONGEST = 2000
"""The page shows so many characters of a foreign text. The result file has all."""


def render(results: Results) -> str:
    """Render one run."""
    return render_all([results])


def render_all(runs: Sequence[Results]) -> str:
    """Render runs of any number of platforms and days. The table has the latest of each cell; others are history."""
    data = json.dumps(document(runs), allow_nan=False, separators=(",", ":"))
    before, _, after = TEMPLATE.read_text(encoding="utf-8").partition(MARK)
    return before + data.replace("<", "\\u003c") + after  # nothing in the data can end the script around it


def document(runs: Sequence[Results]) -> dict[str, Any]:
    """What the page shows, as JSON values. Texts are printable lines; figures have their column's unit."""
    runs = sorted(runs, key=lambda results: results.run.date)
    tabs: dict[str, dict[Any, list[tuple[int, Record]]]] = {}
    order: dict[str, Any] = {}
    shapes: dict[str, dict[str, Any]] = {}
    for number, results in enumerate(runs):
        for work, records in works(results.records).items():
            title = title_of(results.run, work)
            order.setdefault(title, order_of(results.run, work))
            family = title_of(results.run, work._replace(batch=None, seq=None))
            shapes.setdefault(title, {"family": _shown(family), "batch": work.batch, "seq": work.seq})
            rows = tabs.setdefault(title, {})
            missing = {record.engine for record in records if not is_there(record)}
            for record in (record for record in records if record.engine not in missing):
                platform = results.run.platform
                machine = (platform.id, platform.identity), platform_of(platform, record.device)
                rows.setdefault((*machine, *record.engine), []).append((number, record))
    return {
        "runs": [_run(results) for results in runs],
        "tabs": [
            shapes[title] | _tab(title, tabs[title], runs) for title in sorted(tabs, key=lambda title: order[title])
        ],
    }


def bests(rows: Sequence[Mapping[str, Any]], metric: str) -> set[int]:
    """The places of the rows whose figure is the best of their platform."""
    found: set[int] = set()
    for platform in {row["platform"] for row in rows}:
        cells = {place: row["cells"].get(metric) for place, row in enumerate(rows) if row["platform"] == platform}
        found |= _best({place: cell for place, cell in cells.items() if cell and cell["competes"]})
    return found


def slug(title: str) -> str:
    """A tab's title as the name of a file."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "model"


def _best(cells: Mapping[int, Mapping[str, Any]]) -> set[int]:
    """The least of the figures that compete, and all whose intervals overlap its own. A single one is not best."""
    if len(cells) < 2:
        return set()
    least = min(cells.values(), key=lambda cell: cell["value"])
    return {key for key, cell in cells.items() if cell["low"] <= least["high"] and least["low"] <= cell["high"]}


def _run(results: Results) -> dict[str, Any]:
    warnings = [("Warning", warning) for warning in results.warnings]
    facts = [(name, _shown(text)) for name, text in (*run_facts(results.run), *warnings)]
    return {"date": clean(results.run.date), "facts": facts}


def _tab(title: str, rows: dict[Any, list[tuple[int, Record]]], runs: Sequence[Results]) -> dict[str, Any]:
    metrics = {record.metric: record.unit for found in rows.values() for _, record in found}
    names = [name for name in METRICS if name in metrics] + sorted(metrics.keys() - set(METRICS))
    told = next(
        (unit for found in rows.values() for which, one in found if (unit := step(runs[which].run, [one])[0])), ""
    )
    extra = asked(dict.fromkeys(name for results in runs for name in results.run.columns), [*metrics], told)
    machines: dict[str, set[tuple[str, str]]] = {}
    for machine, name, *_ in rows:
        machines.setdefault(name, set()).add(machine)
    latest = {key: {record.metric: number for number, record in found} for key, found in rows.items()}
    seen: dict[Any, set[int]] = {}
    for (machine, name, *_), numbers in latest.items():
        seen.setdefault((machine, name), set()).update(numbers.values())
    made = []
    for key, found in rows.items():
        machine, name, *_ = key
        apart = _apart(machine, machines[name])
        platform = f"{name} ({clean(apart)})" if apart else name
        together = seen[machine, name]
        for number in {*latest[key].values()}:
            of_run = [(which, record) for which, record in found if latest[key][record.metric] == number]
            # Figures of two runs do not compare, so they stand as two platforms.
            when = f", {_when(number, together, runs)}" if len(together) > 1 else ""
            made.append(_row(platform + when, of_run, runs, extra))
    made.sort(key=lambda row: (row["platform"], row.pop("place")))
    return {
        "title": _shown(title),
        "columns": [
            *({"metric": clean(name), "unit": display(name, metrics[name])[0]} for name in names),
            *({"metric": column.title, "unit": column.unit, "asked": True} for column in extra),
        ],
        "rows": made,
    }


def _apart(machine: tuple[str, str], others: AbstractSet[tuple[str, str]]) -> str:
    """What tells a machine from others of the same processor: its id, or where they share that, its identity."""
    several = len({name for name, _ in others}) > 1
    twins = sum(name == machine[0] for name, _ in others) > 1
    return ", ".join(filter(None, [machine[0] if several else "", machine[1][:6] if twins else ""]))


def _when(number: int, others: AbstractSet[int], runs: Sequence[Results]) -> str:
    """A run's day, with the time if another run has the same day."""
    day, dates = runs[number].run.date[:10], [runs[other].run.date for other in others]
    return clean(day if sum(date.startswith(day) for date in dates) == 1 else runs[number].run.date)


def _row(
    platform: str, found: Sequence[tuple[int, Record]], runs: Sequence[Results], extra: Sequence[Column]
) -> dict[str, Any]:
    """A run's record of each metric, with the figures of the runs before it, and the columns that were asked for."""
    number, last = found[-1]
    run = runs[number].run
    cells: dict[str, Any] = {}
    for which, record in found:
        metric = clean(record.metric)
        known = runs[which].run.platform.identity  # else nobody knows whether it was the same machine
        history = cells.get(metric, {}).get("history", ()) if known else ()
        cells[metric] = _cell(which, record, history, runs[which].run.date)
    line = {record.metric: record for _, record in found}
    cells |= {column.title: _asked(number, *told, run) for column in extra if (told := column.of(run, line))}
    training = [record for _, record in found if record.metric == "training"]
    titles = run.titles
    return {
        "platform": _shown(platform),
        "engine": _shown(labels_of(runs[number])[last.engine]),
        "framework": _shown(titles.frameworks.get(last.framework, last.framework)),
        "backend": _shown(last.backend),
        "device": _shown(last.device),
        "variant": _shown(last.variant),
        "language": _shown(titles.languages.get(last.framework, "")),
        "place": place([*titles.frameworks], last.framework),
        "loss": loss_text(training[-1]) if training else "",
        "cells": cells,
    }


def _asked(number: int, record: Record, figure: float | str, run: Run) -> dict[str, Any]:
    """What stands in a column that was asked for; it is never the best, and has no history."""
    value, note = (None, figure) if isinstance(figure, str) else (figure, "")
    own = {"text": shown(figure), "value": value, "low": None, "high": None, "competes": False, "note": _shown(note)}
    return {**_cell(number, record, (), run.date), **own, "history": []}


def _cell(which: int, record: Record, history: Sequence[Any], date: str) -> dict[str, Any]:
    scale = display(record.metric, record.unit)[1]
    median, interval, verdict = record.median, record.interval, record.verdict
    value = None if median is None else median * scale
    low, high = (bound * scale for bound in interval) if interval else (None, None)
    facts = {
        "Outcome": record.outcome,
        "Samples": f"{len(record.durations)}",
        "Ran": record.ran,
        "Versions": ", ".join(f"{name} {version}" for name, version in record.versions.items()),
        "Footprint": shown_size(footprint(record)),
        "Expanded": ", ".join(f"{count} {name}" for name, count in expanded(record).items()),
        "Hashes": ", ".join(f"{kind} {name[:8]}" for kind, name in record.hashes.items() if name),
        "Threads": str(record.threads),
        "Noise": f"speed moved by {noise.moved:.1%}, limit {noise.limit:.1%}" if (noise := record.noise) else "",
        "Weights": record.weights,
        "Started": record.started,
        "Command": record.command,
        "Log": record.log,
    }
    if verdict and verdict.nrmse is not None and verdict.limit is not None:
        facts["Verdict"] = f"NRMSE {verdict.nrmse:.1e} of limit {verdict.limit:.1e} on {verdict.tensor}"
    return {
        "run": which,
        "outcome": clean(record.outcome),
        "text": short_text(record),
        "value": value,
        "low": low,
        "high": high,
        "right": record.outcome.right,
        "competes": competes(record),
        "struck": is_struck(record),
        "note": _shown(note_text(record)),
        "facts": [[name, _shown(text)] for name, text in facts.items() if text],
        "history": [*history, *([[clean(date), value, low, high]] if competes(record) else [])],
    }


def _shown(text: str) -> str:
    """One printable line of foreign text, cut where it is absurdly long."""
    line = clean(text[: 2 * LONGEST])
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}…"
