"""The shape of result files: its types, and the light check against results.schema.json."""

import json
import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias, TypedDict, cast

SCHEMA = 1
METRICS = ("compile", "inference", "latency", "training")
OUTCOMES = ("pass", "close", "fail", "crash", "timeout", "oom", "unsupported", "not_installed", "error", "published")
KEY = (
    "model",
    "framework",
    "backend",
    "device",
    "metric",
    "size",
    "dtype",
    "threads",
    "batch",
    "seq",
    "variant",
)
Key: TypeAlias = tuple[str | int | None, ...]


# The fields below are described, with their units, in results.schema.json.


class Platform(TypedDict):
    """What machine a run was made on."""

    id: str
    cpu: str
    os: str
    memory_mib: int | None
    devices: list[str]
    driver: str | None
    python: str


class Titles(TypedDict):
    """Names for display, in the order of display."""

    models: dict[str, str]
    frameworks: dict[str, str]
    languages: dict[str, str]
    units: dict[str, list[str | int]]


class Run(TypedDict):
    """What all records of a run share: the header of its file."""

    id: str
    date: str
    commit: str | None
    command: str
    platform: Platform
    threads: int
    plugin: str
    titles: Titles


class VerdictFigures(TypedDict):
    """What the gate found, of the tensor nearest to its limit or furthest beyond it."""

    outcome: str
    tensor: str | None
    nrmse: float | None
    limit: float | None
    reference: float | None
    index: list[int] | None
    tensors: int | None
    loss: float | None
    loss_golden: float | None
    message: str


class Record(TypedDict):
    """One cell's outcome and figures; times in seconds, always."""

    model: str
    framework: str
    backend: str
    device: str
    metric: str
    size: str
    dtype: str
    threads: int
    batch: int | None
    seq: int | None
    variant: str
    weights: str
    outcome: str
    flags: list[str]
    reason: str
    median: float | None
    interval: list[float] | None
    unit: str
    samples: list[float]
    verdict: VerdictFigures | None
    ran: str
    versions: dict[str, str]
    revision: str | None
    hashes: dict[str, str | None]
    extra: dict[str, Any]
    started: str
    wall: float
    command: str
    log: str


def key_of(record: Record) -> Key:
    """Return what identifies a record for merge, resume and compare: its values of `KEY`."""
    return tuple(cast("Mapping[str, Any]", record)[name] for name in KEY)


def complete_record(fields: Mapping[str, Any]) -> Record:
    """Make a record of the required fields and whatever else there is; the schema has the defaults."""
    return cast("Record", _complete("record", fields))


def complete_run(fields: Mapping[str, Any]) -> Run:
    """Make a header of the required fields and whatever else there is; the schema has the defaults."""
    return cast("Run", _complete("run", fields))


def fault(kind: str, value: object) -> str | None:
    """Say what breaks the schema first, as `field: what is wrong`; None where nothing does.

    Args:
        kind: Which definition of the schema holds: "run" or "record".
        value: What a file holds, or is to hold.

    """
    return _fault({"$ref": f"#/$defs/{kind}"}, value, "") or _not_finite(value, "")


@cache
def _definitions() -> dict[str, Any]:
    text = Path(__file__).with_name("results.schema.json").read_text(encoding="utf-8")
    return cast("dict[str, Any]", json.loads(text)["$defs"])


def _complete(kind: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in defaults, in the schema's order; fields that it does not list follow."""
    done: dict[str, Any] = {}
    for name, rule in _definitions()[kind]["properties"].items():
        default = deepcopy(rule.get("default"))  # no record shares another's lists
        done[name] = fields.get(name, default)
        part = rule.get("anyOf", [rule])[0].get("$ref", "").rpartition("/")[2]
        if part and done[name] is not None:
            done[name] = _complete(part, done[name])
    return {**done, **{name: value for name, value in fields.items() if name not in done}}


_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list, tuple),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
}


def _fault(rule: Mapping[str, Any], value: Any, field: str) -> str | None:
    """Check type, enum, minimum, number of items, required, properties and items: what the schema uses."""
    if "anyOf" in rule:
        rule = rule["anyOf"][1 if value is None else 0]
    if "$ref" in rule:
        rule = _definitions()[rule["$ref"].rpartition("/")[2]]
    kinds = [rule["type"]] if isinstance(rule.get("type"), str) else rule.get("type", [])
    fits = [kind for kind in kinds if isinstance(value, _TYPES[kind]) and not isinstance(value, bool)]
    where = f"{field}: " if field else ""
    if kinds and not fits:
        return f"{where}expected {' or '.join(kinds)}, found {value!r:.40} ({type(value).__name__})"
    if value not in rule.get("enum", [value]):
        return f"{where}expected one of {', '.join(map(repr, rule['enum']))}, found {value!r:.40}"
    if isinstance(value, (int, float)) and value < rule.get("minimum", value):
        return f"{where}expected at least {rule['minimum']}, found {value!r:.40}"
    if isinstance(value, (list, tuple)):
        return _fault_of_list(rule, value, field)
    if isinstance(value, dict):
        return _fault_of_object(rule, value, field)
    return None


def _fault_of_list(rule: Mapping[str, Any], value: Sequence[Any], field: str) -> str | None:
    if not rule.get("minItems", 0) <= len(value) <= rule.get("maxItems", len(value)):
        return f"{field}: expected {rule['minItems']} items, found {len(value)}"
    faults = (_fault(rule.get("items", {}), item, f"{field}[{i}]") for i, item in enumerate(value))
    return next(filter(None, faults), None)


def _fault_of_object(rule: Mapping[str, Any], value: dict[str, Any], field: str) -> str | None:
    dot = f"{field}." if field else ""
    for name in rule.get("required", ()):
        if name not in value:
            return f"{dot}{name}: is missing"
    others, properties = rule.get("additionalProperties", {}), rule.get("properties", {})
    faults = (_fault(properties.get(name, others), item, f"{dot}{name}") for name, item in value.items())
    return next(filter(None, faults), None)


def _not_finite(value: Any, field: str) -> str | None:
    """Find the first NaN or infinity anywhere: JSON has none, and no table can show one."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"{field}: is {value}, which JSON has no number for; write null"
    if isinstance(value, (list, tuple)):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return None
    faults = (_not_finite(item, f"{field}.{name}" if field else str(name)) for name, item in value.items())
    return next(filter(None, faults), None)
