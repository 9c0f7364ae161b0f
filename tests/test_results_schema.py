"""Tests of the schema: it is what the types give, every field is described, and a full validator agrees with it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs
from tests.records import make_record, make_run, sample_results

from pytest_inferena.cell import KEY, METRICS, Outcome
from pytest_inferena.report import render
from pytest_inferena.results import Fault, Journal, Record, ResultsError, journal, plain, read, reading, schema, typed

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = json.loads(schema.FILE.read_text(encoding="utf-8"))
KINDS = ("run", "platform", "titles", "record", "verdict")
FEWEST: dict[str, Any] = dict.fromkeys(("model", "framework", "backend", "device", "metric"), "x") | {"threads": 1}


def test_the_schema_is_what_the_types_give() -> None:
    """The file that ships is what `python -m pytest_inferena.results.schema` writes."""
    assert schema.render() == schema.FILE.read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_described_and_has_a_default_or_is_required(kind: str) -> None:
    """The schema is the documentation of the fields, in the order in which files have them."""
    definition = SCHEMA["$defs"][kind]
    for name, rule in definition["properties"].items():
        assert rule["description"].endswith((".", "]+.")), name
        assert ("default" in rule) != (name in definition["required"]), name


def test_the_key_comes_first() -> None:
    """A record is written as it is told from others, then by what became of it."""
    fields = list(SCHEMA["$defs"]["record"]["properties"])

    assert [*KEY, "weights", "outcome"] == fields[: len(KEY) + 2]
    assert fields == list(plain(make_record()))


def test_schema_says_the_same_to_a_full_validator() -> None:
    """JSON Schema's own validator accepts a sample document and a header, and refuses a wrong type."""
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator
    validator.check_schema(SCHEMA)
    header = {**SCHEMA["$defs"]["header"], "$defs": SCHEMA["$defs"]}
    validator(header).validate({"schema": 2, "run": plain(make_run())})
    validator(SCHEMA).validate(json.loads(render(sample_results(), "json")))
    wrong = replace(sample_results(), records=(structs.replace(make_record(), reason=7),))

    assert not validator(SCHEMA).is_valid(json.loads(render(wrong, "json")))


@pytest.mark.parametrize(
    "fields",
    [
        {"median": -1}, {"median": "1"}, {"median": None}, {"median": 1}, {"interval": [1]}, {"interval": [1, 2.5]},
        {"threads": 0}, {"batch": 0}, {"batch": 2}, {"outcome": "passed"}, {"outcome": "published"}, {"unit": "ms"},
        {"verdict": {}}, {"verdict": {"outcome": "crash"}}, {"verdict": {"outcome": "close", "loss": None}},
        {"hashes": {"a": None}}, {"versions": {"a": None}}, {"wall": 0}, {"wall": None}, {"new": {"a": 1}},
    ],
)  # fmt: skip
def test_reader_and_validator_agree(fields: dict[str, Any]) -> None:
    """What the schema allows is what is read."""
    jsonschema = pytest.importorskip("jsonschema")
    record = {**FEWEST, "outcome": "pass", **fields}
    rule = {"$ref": "#/$defs/record", "$defs": SCHEMA["$defs"]}
    try:
        is_read = bool(typed(Record, record))
    except Fault:
        is_read = False

    assert is_read == jsonschema.Draft202012Validator(rule).is_valid(record)


def test_what_is_read_is_written_as_it_came() -> None:
    """Whole numbers stay whole, fields that nobody knows stay where they were, and nothing is lost."""
    verdict = {**plain(make_record())["verdict"], "limit": 1, "new": [1]}
    record = {**plain(make_record()), "median": 1, "wall": 0, "verdict": verdict, "others": 3, "new": {"a": None}}

    assert json.dumps(record) == json.dumps(plain(typed(Record, record)))


def test_deep_foreign_values_do_no_harm() -> None:
    """They are kept as they came, up to a depth that nobody needs; beyond, they are refused by name."""
    deep, deeper = ({**plain(make_record()), "extra": {"deep": json.loads("[" * n + "]" * n)}} for n in (60, 900))

    assert json.dumps(deep) == json.dumps(plain(typed(Record, deep)))
    with pytest.raises(Fault, match=r"extra\.deep\.0[.0]*: is nested over 64 deep"):
        typed(Record, deeper)


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_is_of_one_kind(outcome: Outcome) -> None:
    """A cell was judged, was absent, broke, or is somebody else's figure; only what was judged can be right."""
    kinds = [outcome.judged, outcome.absent, outcome.broke, outcome is Outcome.PUBLISHED]

    assert 1 == sum(kinds)
    assert outcome.judged >= outcome.right


def test_an_older_schema_is_brought_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is read by the steps from its schema to today's, and no record of today's is added to it."""
    path = tmp_path / "old.jsonl"
    with Journal(path, make_run()) as old:
        old.append(make_record())
    steps = ({"record": {"reason": "two"}}, {"record": {"ran": "three"}})
    migrations = [lambda part, raw, step=step: {**raw, **step.get(part, {})} for step in steps]
    for module in (reading, journal):
        monkeypatch.setattr(module, "SCHEMA", 4)
    monkeypatch.setattr(reading, "MIGRATIONS", (*reading.MIGRATIONS, *migrations))
    (record,) = read(path).records

    assert ("two", "three") == (record.reason, record.ran)
    with pytest.raises(ResultsError, match="no journal of schema 4, so no record can be added; name another file"):
        Journal(path, make_run())


def test_samples_of_schema_1_are_those_of_one_process(tmp_path: Path) -> None:
    """A file from before samples were kept by process is read with all its figures."""
    record = make_record()
    first, second = plain(record), {**plain(make_record("compile")), "median": None, "interval": None, "samples": []}
    old = {"schema": 1, "run": plain(make_run()), "records": [{**first, "samples": [*record.durations]}, second]}
    path = tmp_path / "old.json"
    path.write_text(json.dumps(old))

    assert [first, second] == [plain(found) for found in read(path).records]


def test_no_record_is_added_to_a_document(tmp_path: Path) -> None:
    """A report in JSON is read like a journal; adding a line would break it."""
    path = tmp_path / "results.json"
    path.write_text(render(sample_results(), "json"))
    before = path.read_bytes()

    with pytest.raises(ResultsError, match="no journal of schema 2"):
        Journal(path, make_run())
    assert before == path.read_bytes()


def test_metrics_are_in_the_order_of_running() -> None:
    """Compile comes first, in a fresh worker."""
    assert ("compile", "inference", "latency", "training") == METRICS
