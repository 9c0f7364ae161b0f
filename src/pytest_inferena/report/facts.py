"""What a reader of a table has to know: verdicts, versions, machine, hashes, flags."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import inf, log
from operator import itemgetter
from typing import Any, TypeAlias

from pytest_inferena.cell import Engine, Outcome
from pytest_inferena.report.texts import clean, is_there, scientific
from pytest_inferena.results import Record, Run

Fact: TypeAlias = tuple[str, str]
SHARED = ("program", "weights", "inputs")
"""Kinds of hashes that all engines of a table have to share."""
_STALLS = ("cpu", "io", "memory")
SMALLEST = 1e-99
"""What a size of zero counts as where the farthest from 1 is looked for."""


def table_facts(run: Run, records: Sequence[Record], labels: Mapping[Engine, str]) -> tuple[Fact, ...]:
    """Gather the facts of one table, as (name, text). Empty ones are left out."""
    facts = (
        ("Verdict", _verdict(records, labels)),
        ("Not covered", _uncovered(records)),
        ("Differs", _differing(records)),
        ("Weights", records[0].weights + _uneven(records)),
        ("Model", _chosen(records)),
        ("Step", _step(run, records)),
        ("Threads", str(records[0].threads)),
        ("Versions", _versions(records, labels)),
        ("Footprint", _footprints(records, labels)),
        ("Expanded", _expanded(records, labels)),
        ("Hashes", _hashes(records)),
        ("Noise", _noise(records, labels)),
        ("Flags", _flags(records, labels)),
        ("Not installed", _missing(records)),
    )
    return tuple((name, clean(text)) for name, text in facts if text)


def run_facts(run: Run) -> tuple[Fact, ...]:
    """Gather the facts that all tables of a run share."""
    platform = run.platform
    memory = platform.memory_mib
    machine = [platform.cpu, f"{memory} MiB" if memory else "", platform.os]
    machine += [name for name in platform.devices if name != "cpu"]
    machine += [f"driver {platform.driver}" if platform.driver else ""]
    machine += [f"Python {platform.python}" if platform.python else ""]
    facts = (
        ("Platform", ", ".join(filter(None, machine))),
        ("Date", run.date),
        ("Commit", run.commit or ""),
        ("Command", run.command),
    )
    return tuple((name, clean(text)) for name, text in facts if text)


def _verdict(records: Sequence[Record], labels: Mapping[Engine, str]) -> str:
    ran = [record for record in records if not record.outcome.absent]
    counts = Counter(record.outcome for record in ran)
    text = f"{counts.pop(Outcome.PASS, 0)} of {len(ran)} cells PASS" if ran else "no cell ran"
    text += "".join(f", {counts[outcome]} {outcome.upper()}" for outcome in Outcome if counts[outcome])
    judged = [
        (r.verdict.nrmse / r.verdict.limit, r.verdict.nrmse, r.verdict.limit, r)
        for r in ran
        if r.verdict and r.verdict.nrmse is not None and r.verdict.limit
    ]
    if judged:
        _, nrmse, limit, worst = max(judged, key=itemgetter(0))
        tensor = worst.verdict.tensor if worst.verdict else None
        text += f"; worst NRMSE {scientific(nrmse)} of limit {scientific(limit)}"
        text += f" on {tensor} ({labels[worst.engine]}, {worst.metric})"
    losses = [r.verdict.loss_golden for r in ran if r.verdict]
    golden = sorted({f"{loss:.4f}" for loss in losses if loss is not None})
    return text + "".join(f"; golden loss {loss}" for loss in golden)


def _uncovered(records: Sequence[Record]) -> str:
    """The parameters that nothing depends on."""
    found = dict.fromkeys(str(name) for record in records for name in _list(record.extra.get("uncovered")))
    if not found:
        return ""
    those = "its values" if len(found) == 1 else "their values"
    return f"{some([*found])}: no verdict says anything of {those}, for nothing that is judged depends on them"


def _uneven(records: Sequence[Record]) -> str:
    """Where seeded weights did not keep activations near unit size. Those of a checkpoint are as they are."""
    found = [record.extra.get("uneven") for record in records if record.weights == "seeded"]
    told = {
        k: v for one in found if isinstance(one, Mapping) for k, v in one.items() if isinstance(v, float) and v >= 0
    }
    worst = sorted(told, key=lambda name: -abs(log(told[name] or SMALLEST)))
    shown = some([f"{name} {told[name]:.2g}" for name in worst])
    return f"; layers whose activations are more than 4 times from unit size: {shown}" if shown else ""


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def some(texts: Sequence[str], most: int = 3) -> str:
    """Name the first of several, and say how many more there are."""
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")


def _chosen(records: Sequence[Record]) -> str:
    """What was found out about a model, or chosen for it, because nobody said it."""
    found = _found_out(records)
    parts = [str(found["module"])] if "module" in found else []
    parts += [f"{found['parameters']:,} parameters"] if "parameters" in found else []
    parts += [f"{name} {found[name]}" for name in ("revision", "inputs", "loss") if name in found]
    return "; ".join(parts)


def _found_out(records: Sequence[Record]) -> Mapping[str, Any]:
    """`found_out` of the first record that has it, as far as it is what the preparer wrote."""
    found: Any = next((record.extra["found_out"] for record in records if "found_out" in record.extra), {})
    kinds = {"module": str, "revision": str, "inputs": str, "loss": str, "unit": str, "items": int, "parameters": int}
    whole = found if isinstance(found, Mapping) else {}
    return {name: whole[name] for name, kind in kinds.items() if isinstance(whole.get(name), kind)}


def step(run: Run, records: Sequence[Record]) -> tuple[str, int]:
    """What a step of inference processes: the unit, and how many of it, as is said of the full size; "" and 0 else."""
    record, found = records[0], _found_out(records)
    said, made = run.titles.units.get(record.model), (found.get("unit", ""), found.get("items", 0))
    unit, items = said if said and record.batch is record.seq is None else made
    return unit, items if unit and record.size == "full" else 0


def _step(run: Run, records: Sequence[Record]) -> str:
    unit, items = step(run, records)
    if not items:
        return ""
    return f"{items} {unit}{'' if items == 1 else 's'} in one inference step"


def _versions(records: Sequence[Record], labels: Mapping[Engine, str]) -> str:
    """Name each engine's distributions, its revision, and what really ran, as its runtime says."""
    engines: dict[str, dict[str, None]] = {}
    missing = {record.engine for record in records if not is_there(record)}
    for record in (record for record in records if record.engine not in missing):
        parts = [f"{package} {version}" for package, version in record.versions.items()]
        parts += [f"revision {record.revision}"] if record.revision else []
        parts += [f"ran {record.ran}"] if record.ran else []
        parts += [f"adapter {name[:8]}"] if (name := record.hashes.get("adapter")) else []
        if parts:
            engines.setdefault(labels[record.engine], {})[", ".join(parts)] = None
    return "; ".join(f"{label}: {' | '.join(texts)}" for label, texts in sorted(engines.items()))


def _footprints(records: Sequence[Record], labels: Mapping[Engine, str]) -> str:
    """The size of what has to be installed for each engine, the smallest first."""
    sizes = {labels[record.engine]: footprint(record) for record in records if footprint(record)}
    return "; ".join(f"{label} {shown_size(size)}" for label, size in sorted(sizes.items(), key=lambda one: one[1]))


def footprint(record: Record) -> float:
    """MiB that have to be installed for the engine; 0 if that is not known."""
    size = record.extra.get("footprint_mib")
    return float(size) if isinstance(size, int | float) and 0 < size < inf else 0


def shown_size(mib: float) -> str:
    """A size to three digits; "" for none."""
    return "" if not mib else f"{mib:.3g} MiB" if mib < 1000 else f"{mib / 1024:.3g} GiB"


def _expanded(records: Sequence[Record], labels: Mapping[Engine, str]) -> str:
    """The operators that were taken apart for each engine, because it lacks them."""
    engines: dict[str, set[str]] = {}
    for record in records:
        if lacking := expanded(record):
            engines.setdefault(labels[record.engine], set()).update(lacking)
    return "; ".join(f"{label}: {', '.join(sorted(names))}" for label, names in sorted(engines.items()))


def expanded(record: Record) -> Mapping[str, int]:
    """The operators that were taken apart for an engine, each with its number of nodes."""
    found = record.extra.get("expanded")
    return found if isinstance(found, Mapping) else {}


def _hashes(records: Sequence[Record]) -> str:
    """Shorten the hashes of what all engines share."""
    found = {kind: dict.fromkeys(name for _, name in _hashes_of(kind, records)) for kind in SHARED}
    return "; ".join(f"{kind} {', '.join(names)}" for kind, names in found.items() if names)


def _differing(records: Sequence[Record]) -> str:
    """Warn if cells of one metric had different programs, weights or inputs: their work was not the same."""
    texts = []
    for kind in SHARED:
        cells = _hashes_of(kind, records)
        if len({*cells}) > len({metric for metric, _ in cells}):
            counts = Counter(name for _, name in cells).most_common()
            texts.append(f"{kind} (cells: {', '.join(f'{name} in {count}' for name, count in counts)})")
    return "; ".join([*texts, "not all figures compare"]) if texts else ""


def _hashes_of(kind: str, records: Iterable[Record]) -> list[tuple[str, str]]:
    """(metric, short hash) of every cell that has one."""
    return [(record.metric, name[:8]) for record in records if (name := record.hashes.get(kind))]


def _missing(records: Iterable[Record]) -> str:
    """Count the engines that are not installed, and the backends that installed engines lack."""
    missing = {record.engine for record in records if not is_there(record)}
    known = {record.framework for record in records if record.engine not in missing}
    engines = {engine.framework for engine in missing} - known
    backends = [engine for engine in missing if engine.framework in known]
    counts = (("engine", len(engines)), ("backend", len(backends)))
    texts = [f"{count} more {name}{'' if count == 1 else 's'}" for name, count in counts if count]
    return f"{', '.join(texts)}: inferena doctor" if texts else ""


def _noise(records: Sequence[Record], labels: Mapping[Engine, str]) -> str:
    """How quiet the machine was around the cells: how far its speed moved, and what the system says it lost."""
    watched = [(record.noise, f"{labels[record.engine]}, {record.metric}") for record in records if record.noise]
    if not watched:
        return ""
    noises = [noise for noise, _ in watched]
    worst, cell = max(watched, key=lambda one: one[0].moved)
    text = f"the machine's speed moved by up to {worst.moved:.1%} around a cell ({cell})"
    again = sum(noise.repeated > 0 for noise in noises)
    text += f"; {again} of {len(noises)} cells were measured again" if again else ""
    shares = {"stolen": [noise.steal for noise in noises]}
    shares |= {f"waiting for {name}": [noise.pressure.get(name) for noise in noises] for name in _STALLS}
    told = {name: max(known) for name, found in shares.items() if (known := [one for one in found if one is not None])}
    text += "".join(f"; {name} up to {share:.1%}" for name, share in told.items())
    throttled = sum(noise.throttled or 0 for noise in noises)
    return text + (f"; throttled {throttled} times" if throttled else "")


def _flags(records: Sequence[Record], labels: Mapping[Engine, str]) -> str:
    cells: dict[str, list[str]] = {}
    for record in records:
        for flag in record.flags:
            cells.setdefault(flag, []).append(f"{labels[record.engine]} {record.metric}")
    texts = []
    for flag, names in cells.items():
        shown = "all cells" if len(names) == len(records) else f"{len(names)} cells"
        texts.append(f"{flag} ({', '.join(names) if len(names) <= 4 else shown})")
    return "; ".join(texts)
