"""How cells of an engine that lacks operators run: it says what it has, and the record names what was expanded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.projects import Project

TOML = """\
name = "small"
title = "Small"
language = "python"
training = "none"
{exchange}

[[backends]]
name = "numpy"
device = "cpu"
"""
ADAPTER = """\
import numpy as np

from pytest_inferena import Adapter as Base
from pytest_inferena import evaluate

OPERATORS = {{
    "matmul": np.matmul, "add": np.add, "tanh": np.tanh, "permute": np.transpose,
    "reshape": lambda x, shape: x.reshape(shape),
}}


class Adapter(Base):
    operators = {operators}

    @classmethod
    def prepare(cls, program, folder):
        (folder / "operators.txt").write_text(" ".join(sorted(program.entry("inference").operators())))

    def load(self, program, weights):
        if self.setup.exchange:
            print("exchange was written with", (self.setup.exchange / "operators.txt").read_text(), flush=True)
        self.parameters = {{name: weights[name] for name in program.parameters}}

    def compile(self, entry):
        return Step(entry, {{**self.parameters, **entry.arrays("constants"), **entry.arrays("inputs")}})


class Step:
    def __init__(self, entry, values):
        self.entry, self.values = entry, values

    def __call__(self):
        self.results = evaluate(self.entry, OPERATORS, self.values)

    def synchronize(self):
        pass

    def outputs(self):
        return self.results
"""
HAS = "dict.fromkeys(OPERATORS, {})"


def small(project: Project, operators: str = HAS, *, exchange: bool = False) -> None:
    """Add the engine to a project."""
    project.write("small/adapter.toml", TOML.format(exchange="exchange = true" if exchange else ""))
    project.write("small/adapter.py", ADAPTER.format(operators=operators))


@pytest.mark.parametrize("exchange", [False, True], ids=["graph", "exchange"])
def test_what_an_engine_lacks_is_expanded(project: Project, *, exchange: bool) -> None:
    """It computes the model with five operators, whether it walks the graph or an exchange file is made of it."""
    small(project, exchange=exchange)
    result = project.run("-m", "small and not training")
    records = project.records()

    result.assert_outcomes(passed=3)
    assert {"compile": "pass", "inference": "pass", "latency": "pass"} == project.outcomes()
    assert [{"linear": 3}] * 3 == [records[name]["extra"]["expanded"] for name in ("compile", "inference", "latency")]


def test_an_engine_that_says_nothing_gets_the_program_as_it_is(project: Project) -> None:
    """It refuses by its name what it lacks, as before there was any expansion."""
    small(project, "None")
    project.run("-m", "small and inference")
    record = project.records()["inference"]

    assert "unsupported" == record["outcome"]
    assert "unsupported operator aten.linear, node linear (engine small)" == record["reason"]


def test_what_no_expansion_gives_is_refused_by_its_name(project: Project) -> None:
    """Products of matrices can't be written with anything else; the reason is what the model has, not a part of it."""
    small(project, "{name: {} for name in OPERATORS if name != 'matmul'} | {'add': {'rank': [9]}}")
    project.write(
        "small/adapter.py", (project.path / "small/adapter.py").read_text().replace('"matmul": np.matmul, ', "")
    )
    project.run("-m", "small and inference")

    assert "unsupported operator aten.linear, node linear" in project.records()["inference"]["reason"]


@pytest.mark.parametrize("operators", ["['linear']", "{'linear': ['rank']}", "{'linear': {'rank': 2}}"])
def test_a_table_of_another_form_is_an_error_that_shows_it(project: Project, operators: str) -> None:
    """The answer to hello is held to the protocol's page."""
    small(project, operators)
    project.run("-m", "small and inference")
    record = project.records()["inference"]

    assert "error" == record["outcome"]
    assert "'operators' is no object of conditions" in record["reason"]
