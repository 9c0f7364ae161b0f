"""Tests of docs/program-format.md: it says what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from tests.programs import entry_of, gradients, inference, training
from tests.zoo import MODELS

from pytest_inferena.prepare.attempts import Attempts
from pytest_inferena.prepare.entries import entries
from pytest_inferena.prepare.sources import load_case
from pytest_inferena.worker.format import ENTRIES, VERSION, Entry

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "program-format.md").read_text(encoding="utf-8")
REAL = ("resnet50", "sd_unet", "smollm2", "smolvla", "whisper_tiny")
SOURCES = ROOT / "src" / "pytest_inferena" / "program"


def table(heading: str) -> dict[str, tuple[str, ...]]:
    """Operator → its arguments, of the table under a heading."""
    part = re.split(r"^## ", PAGE.split(f"\n## {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \|", part, re.MULTILINE)
    return {operator: tuple(re.findall(r"`(\w+)`", arguments)) for operator, arguments in rows}


FIRST = table("Operators of inference, latency and training")
SECOND = table("The second set: operators of joint")


def written(entries: Iterable[Entry]) -> dict[str, tuple[str, ...]]:
    """Operator → its arguments, as entries have them."""
    return {node.operator: tuple(node.arguments) for entry in entries for node in entry.nodes}


@pytest.mark.parametrize("name", MODELS)
def test_operators_of_the_zoo_stand_on_the_page(name: str) -> None:
    """Every operator is in its table, with exactly these arguments in this order."""
    found = written([inference(name), training(name)])

    assert {operator: FIRST.get(operator) for operator in found} == found


@pytest.mark.parametrize("name", MODELS)
def test_operators_of_joint_entries_stand_on_the_page(name: str) -> None:
    """A joint entry has those of both tables, without what autograd takes apart."""
    found = written([gradients(name)])
    apart = re.findall(r"`(\w+)`", re.search(r"taken apart losses, attention, (.*)\.$", PAGE, re.MULTILINE).group(1))  # type: ignore[union-attr]

    assert {operator: (FIRST | SECOND).get(operator) for operator in found} == found
    assert set() == found.keys() & {*apart, "scaled_dot_product_attention", "cross_entropy_loss", "mse_loss"}


@pytest.mark.parametrize("name", REAL)
def test_operators_of_the_benchmarked_models_stand_on_the_page(name: str) -> None:
    """So they do for the models of benchmarks/ (sd15_unet is sd_unet's kind, and takes long)."""
    torch.set_num_threads(1)
    case = load_case(ROOT / "benchmarks" / "models" / f"{name}.py", "tiny")
    case.module.eval()
    found = written([entry_of(graph) for graph, _ in entries(case, Attempts()).values()])

    assert {operator: FIRST.get(operator) for operator in found} == found


def test_operators_that_rules_write_stand_on_the_page() -> None:
    """An operator that a rule names in the sources is in a table."""
    text = "".join(file.read_text(encoding="utf-8") for file in SOURCES.glob("*.py"))
    named = set(re.findall(r'(?:g\.(?:emit|made)|_binary|_compare|_reduce|_along|_keep|Node)\(\s*"(\w+)"', text))

    assert set() == named - FIRST.keys() - SECOND.keys()
    assert len(named) > 30


def test_tables_are_sorted_and_apart() -> None:
    """An operator is found where it is looked for, once."""
    assert (sorted(FIRST), sorted(SECOND)) == (list(FIRST), list(SECOND))
    assert set() == FIRST.keys() & SECOND.keys()


def test_example_is_an_entry() -> None:
    """The document on the page is read, and written again as it was; its operators are as the tables say."""
    document = json.loads(re.search(r"```json\n(.*?)```", PAGE, re.DOTALL).group(1))  # type: ignore[union-attr]
    entry = Entry.from_json(document)

    assert document == entry.to_json()
    assert {operator: FIRST[operator] for operator in entry.operators()} == written([entry])


def test_fields_and_entries_stand_on_the_page() -> None:
    """Fields of the documents, names of the entries and the version are the code's."""
    document = Entry.from_json(json.loads(re.search(r"```json\n(.*?)```", PAGE, re.DOTALL).group(1))).to_json()  # type: ignore[union-attr]
    fields = {*document, *document["nodes"][0], *document["inputs"][0], "model", "trainable", *ENTRIES}

    assert f"# The Program, version {VERSION}" == PAGE.splitlines()[0]
    assert [] == [field for field in sorted(fields) if f"`{field}`" not in PAGE]
