"""Tests of the schema: the code, its types and a full validator agree with it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.records import make_record, make_run, sample_results

from pytest_inferena import results
from pytest_inferena.report import render
from pytest_inferena.results import KEY
from pytest_inferena.results import schema as results_schema


def test_constants_agree_with_the_schema() -> None:
    """Outcomes and key stand in the code and in the schema, and are the same."""
    record = results_schema._definitions()["record"]

    assert list(results.OUTCOMES) == record["properties"]["outcome"]["enum"]
    assert list(KEY) == list(record["properties"])[: len(KEY)]


@pytest.mark.parametrize("kind", ["run", "platform", "titles", "record", "verdict"])
def test_every_field_is_typed_described_and_has_a_default_or_is_required(kind: str) -> None:
    """The schema is the documentation of the fields, and holds just those that the types have."""
    types = {
        "run": results.Run,
        "platform": results.Platform,
        "titles": results.Titles,
        "record": results.Record,
        "verdict": results.VerdictFigures,
    }
    definition = results_schema._definitions()[kind]
    fields = definition["properties"]

    assert list(types[kind].__annotations__) == list(fields)
    for name, rule in fields.items():
        assert "description" in rule or "$ref" in rule, name
        assert ("default" in rule) != (name in definition["required"]), name


def test_schema_says_the_same_to_a_full_validator() -> None:
    """JSON Schema's own validator accepts a sample document and a header, and refuses a wrong type."""
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(Path(results_schema.__file__).with_name("results.schema.json").read_text())
    validator = jsonschema.Draft202012Validator
    validator.check_schema(schema)
    header = {**schema["$defs"]["header"], "$defs": schema["$defs"]}
    validator(header).validate({"schema": 1, "run": make_run()})
    validator(schema).validate(json.loads(render(sample_results(), "json")))
    wrong = replace(sample_results(), records=(make_record(reason=7),))

    assert not validator(schema).is_valid(json.loads(render(wrong, "json")))
