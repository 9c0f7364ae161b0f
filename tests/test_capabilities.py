"""Tests of conditions: which calls of an operator an engine has; the crate of engines in Rust reads the same cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_inferena.worker.capabilities import has
from pytest_inferena.worker.format import Entry, TensorSpec

if TYPE_CHECKING:
    from pytest_inferena.worker.format import Node

CASES = json.loads((Path(__file__).parent / "condition_cases.json").read_text())["cases"]
SPECS = {name: TensorSpec(name, (2, 3, 4), "float32") for name in ("x", "w", "y")}


def call(arguments: dict[str, Any]) -> Node:
    """A call with these arguments, as the document has them."""
    node = {"op": "f", "args": arguments, "out": [{"name": "y", "shape": [2, 3, 4], "dtype": "float32"}]}
    head = {"format": "inferena-program", "version": 1, "entry": "training"}
    body = {"inputs": [], "parameters": [], "constants": [], "nodes": [node], "outputs": {"y": "y"}}
    return Entry.from_json(head | body).nodes[0]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"].replace(" ", "-"))
def test_condition(case: dict[str, Any]) -> None:
    """A call is had where all conditions hold."""
    assert case["has"] is has({"f": case["conditions"]}, call(case["args"]), SPECS, trains=True)


def test_an_operator_that_is_missing_is_not_had() -> None:
    """Only what the table names is there."""
    assert not has({"g": {}}, call({}), SPECS, trains=False)
