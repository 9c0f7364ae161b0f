"""Who is who in a table: what makes work and engines the same, and how they are called."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from pytest_inferena.report.cells import clean
from pytest_inferena.results import Platform, Record, Results, Run

# Figures that differ in any of these are of different work and never share a table.
WORK = ("model", "size", "weights", "dtype", "batch", "seq", "threads")
_USUAL = ("full", "seeded", "float32", None, None)  # of size to seq
ENGINE = ("framework", "backend", "device", "variant")


def engine_of(record: Record) -> tuple[str, ...]:
    """Return what `labels_of` names, the values of `ENGINE`."""
    return record["framework"], record["backend"], record["device"], record["variant"]


def labels_of(results: Results) -> dict[Any, str]:
    """Name the engines: title, and what of backend, device and variant tells them apart here."""
    labels = {}
    engines = grouped(results.records, ENGINE)
    for engine in engines:
        same = [other for other in engines if other[0] == engine[0]]
        apart = [part for i, part in enumerate(engine) if len({other[i] for other in same}) > 1]
        title = results.run["titles"]["frameworks"].get(engine[0], engine[0])
        shown = [part for part in (*apart, engine[3]) if part != "vanilla"]
        labels[engine] = clean(f"{title} ({', '.join(dict.fromkeys(shown))})" if shown else title)
    return labels


def title_of(run: Run, work: Mapping[str, Any]) -> str:
    """Name a kind of work, by field of `WORK`: the model, and what is not the default."""
    parts = [run["titles"]["models"].get(work["model"], work["model"])]
    parts += [work[name] for name, usual in (("size", "full"), ("dtype", "float32")) if work[name] != usual]
    parts += [f"{name} {work[name]}" for name in ("batch", "seq") if work[name] is not None]
    if work["weights"] != "seeded":
        parts.append(f"weights from {work['weights']}")
    if work["threads"] != run["threads"]:
        parts.append(f"threads {work['threads']}")
    return clean(", ".join(parts))


def platform_of(platform: Platform, device: str) -> str:
    """Name what a device of a machine is: its CPU, or the GPU of that number."""
    kind, _, index = device.partition(":")
    if kind == "cpu":
        return clean(platform["cpu"])
    others = [name for name in platform["devices"] if name != "cpu"]
    number = int(index) if index.isdecimal() else 0
    return clean(others[number] if number < len(others) else f"{device} on {platform['cpu']}")


def order_of(run: Run, work: tuple[Any, ...]) -> tuple[Any, ...]:
    """Sort kinds of work: models in the header's order, of each the usual work first."""
    rest = zip(work[1:], (*_USUAL, run["threads"]), strict=True)
    return (
        place([*run["titles"]["models"]], work[0]),
        *((value != usual, str(value)) for value, usual in rest),
    )


def place(order: Sequence[str], name: str) -> tuple[int, str]:
    """Sort by a given order; names that it lacks come last, by name."""
    return (order.index(name) if name in order else len(order), name)


def works(records: Iterable[Record]) -> dict[Any, list[Record]]:
    """Group records by `WORK`; cells that never ran know of their weights only where they were to come from."""
    groups, at = grouped(records, WORK), WORK.index("weights")
    for work in [work for work in groups if work[at] in {"package", "hub"}]:
        known = [
            other for other in groups
            if other[at].startswith(f"{work[at]}: ") and other[:at] + other[at + 1 :] == work[:at] + work[at + 1 :]
        ]  # fmt: skip
        if len(known) == 1:
            groups[known[0]] += groups.pop(work)
    return groups


def grouped(records: Iterable[Record], names: Sequence[str]) -> dict[Any, list[Record]]:
    """Group records by the values of some fields."""
    groups: dict[Any, list[Record]] = {}
    for record in records:
        fields = cast("Mapping[str, Any]", record)
        groups.setdefault(tuple(fields[name] for name in names), []).append(record)
    return groups
