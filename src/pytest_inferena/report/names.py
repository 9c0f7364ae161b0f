"""Names in a table: which records are of the same work or engine, and what these are called."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pytest_inferena.cell import DEFAULTS, Engine, Work
from pytest_inferena.report.texts import clean
from pytest_inferena.results import Platform, Record, Results, Run

Group = TypeVar("Group")


def labels_of(results: Results) -> dict[Engine, str]:
    """Name the engines: by their title, with backend, device and variant where these tell them apart."""
    labels = {}
    engines = dict.fromkeys(record.engine for record in results.records)
    for engine in engines:
        same = [other for other in engines if other.framework == engine.framework]
        apart = [part for i, part in enumerate(engine) if len({other[i] for other in same}) > 1]
        title = _titled(results.run.titles.frameworks, engine.framework)
        shown = [part for part in (*apart, engine.variant) if part != DEFAULTS["variant"]]
        labels[engine] = clean(f"{title} ({', '.join(dict.fromkeys(shown))})" if shown else title)
    return labels


def named(results: Results) -> Iterator[tuple[Record, str]]:
    """Name each cell: what was done, by which engine, and the metric."""
    labels = labels_of(results)
    for record in results.records:
        yield record, f"{title_of(results.run, record.work)}, {labels[record.engine]}, {clean(record.metric)}"


def title_of(run: Run, work: Work) -> str:
    """Name a kind of work: the model, and what is not the default."""
    usual = usual_of(run)
    told = {
        "size": work.size,
        "dtype": work.dtype,
        "batch": f"batch {work.batch}",
        "seq": f"seq {work.seq}",
        "inputs": f"{work.inputs} inputs",
        "weights": "own weights" if work.weights == "own" else f"weights from {work.weights}",
        "threads": f"threads {work.threads}",
    }
    parts = [words for name, words in told.items() if getattr(work, name) != usual[name]]
    return clean(", ".join([_titled(run.titles.models, work.model), *parts]))


def _titled(titles: Mapping[str, str], name: str) -> str:
    """A title, and the name behind it if others have the same title."""
    title = titles.get(name, name)
    return f"{title} ({name})" if [*titles.values()].count(title) > 1 else title


def usual_of(run: Run) -> Mapping[str, Any]:
    """What a run's tables do not mention: the defaults, and the run's own threads."""
    return {**DEFAULTS, "threads": run.threads}


def platform_of(platform: Platform, device: str) -> str:
    """Name a device of a machine: its CPU, or the GPU of that number."""
    kind, _, index = device.partition(":")
    if kind == "cpu":
        return clean(platform.cpu)
    others = [name for name in platform.devices if name != "cpu"]
    number = int(index) if index.isdecimal() else 0
    return clean(others[number] if number < len(others) else f"{device} on {platform.cpu}")


def order_of(run: Run, work: Work) -> tuple[Any, ...]:
    """Sort kinds of work: models in the header's order, and for each the usual work first."""
    usual, (model, *rest) = usual_of(run), work._asdict().items()
    numbers = {name: value if isinstance(value, int) else 0 for name, value in rest}  # 8 comes before 32
    others = ((value != usual[name], numbers[name], str(value)) for name, value in rest)
    return place([*run.titles.models], model[1]), *others


def place(order: Sequence[str], name: str) -> tuple[int, str]:
    """Sort by a given order. Names that it lacks come last, in alphabetical order."""
    return (order.index(name) if name in order else len(order), name)


def works(records: Iterable[Record]) -> dict[Work, list[Record]]:
    """Group records by their work. Cells that never ran know the kind of their weights, and no more of them."""
    groups = grouped(records, lambda record: record.work)
    for work in [work for work in groups if work.weights in {"package", "hub"}]:
        known = [
            other for other in groups
            if other.weights.startswith(f"{work.weights}: ") and other._replace(weights=work.weights) == work
        ]  # fmt: skip
        if len(known) == 1:
            groups[known[0]] += groups.pop(work)
    return groups


def grouped(records: Iterable[Record], by: Callable[[Record], Group]) -> dict[Group, list[Record]]:
    """Group records by something of them."""
    groups: dict[Group, list[Record]] = {}
    for record in records:
        groups.setdefault(by(record), []).append(record)
    return groups
