"""Several runs in one file: of several machines, or of one machine over time."""

from collections.abc import Iterable
from dataclasses import replace

from pytest_inferena.results import Record, Results, document


def merge(found: Iterable[Results]) -> tuple[list[Results], list[str]]:
    """Join runs, oldest first. Parts of the same run become one.

    Returns:
        the runs, and a sentence for each conflict. If two files disagree on a cell of the same run, both records are
        kept, the second in an entry of its own.

    """
    runs: dict[str, list[Results]] = {}
    conflicts = []
    for results in found:
        name = results.run.id
        entries = runs.setdefault(name, [])
        rest = list(results.records)
        for entry in entries:
            if entry.run == results.run:
                rest = _join(entries, entry, rest)
        if rest or not entries:
            if entries:
                conflicts.append(_conflict(name, entries[0], results, rest))
            entries.append(replace(results, records=tuple(rest)))
    ordered = sorted(runs.values(), key=lambda entries: entries[0].run.date)
    return [entry for entries in ordered for entry in entries], conflicts


def render(runs: Iterable[Results]) -> str:
    """One document of all runs, which `results.read_all` reads back. A single run is a plain document."""
    parts = list(runs)
    return document.render(parts[0]) if len(parts) == 1 else document.render_all(parts)


def _join(entries: list[Results], entry: Results, records: Iterable[Record]) -> list[Record]:
    """Add the records whose cells an entry lacks. Returns those that it has, but with other values."""
    known = {record.key: record for record in entry.records}
    rest = [record for record in records if known.setdefault(record.key, record) != record]
    entries[entries.index(entry)] = replace(entry, records=tuple(known.values()))
    return rest


def _conflict(name: str, first: Results, second: Results, rest: list[Record]) -> str:
    if first.run != second.run:
        return f"run {name} has two headers; both are kept"
    others = f" and {len(rest) - 1} more" if len(rest) > 1 else ""
    return f"run {name} has two records of {rest[0]}{others}; both are kept"
