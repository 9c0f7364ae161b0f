"""Tests of `inferena compare`: what counts as a change, and what it exits with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.records import RUN, broken, make_record, make_results, timed

from pytest_inferena.commands import cli
from pytest_inferena.report import render
from pytest_inferena.report.compare import compare

if TYPE_CHECKING:
    from pathlib import Path

SLOW = timed(0.260, 0.002)


def kinds(old: dict[str, Any] | None, new: dict[str, Any] | None, **run: Any) -> list[str]:
    """What became of one cell; None is a run without it."""
    sides = [make_results([] if fields is None else [make_record(**fields)]) for fields in (old, new)]
    changed = make_results(sides[1].records, **run)
    return [change.kind for change in compare(sides[0], changed, 0.05)]


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ({}, {}, "same"),
        ({}, SLOW, "slower"),
        (SLOW, {}, "faster"),
        ({}, timed(0.240, 0.002), "same"),  # 3 %
        ({}, timed(0.260, 0.040), "same"),  # the intervals overlap
        ({}, {**SLOW, "interval": None}, "incomparable"),  # one sample says nothing
        ({}, {**SLOW, "interval": None, "median": None}, "same"),  # judged only
        ({}, broken("crash", "SIGSEGV"), "worse"),
        ({}, {**SLOW, "outcome": "close", "reason": "bf16"}, "worse"),
        ({"outcome": "fail"}, {}, "better"),
        (broken("timeout", "slow"), broken("crash", "gone"), "same"),
        (broken("timeout", "slow"), {"outcome": "fail"}, "worse"),
        ({}, None, "gone"),
        (None, {}, "new"),
        ({}, {**SLOW, "hashes": {"program": "cccc", "weights": "bbbb2222" * 8}}, "incomparable"),
    ],
)
def test_kinds(old: dict[str, Any] | None, new: dict[str, Any] | None, kind: str) -> None:
    """A change is one of verdicts, or of medians that differ by more than the threshold with intervals apart."""
    assert [kind] == kinds(old, new)


def test_machines_do_not_compare() -> None:
    """Times of two machines are not compared, their verdicts are."""
    other = {"platform": {**RUN["platform"], "id": "other"}}

    assert ["incomparable"] == kinds({}, SLOW, **other)
    assert ["worse"] == kinds({}, broken("oom", "9 GiB"), **other)


@pytest.mark.parametrize(("identity", "kind"), [("fedcba9876543210", "incomparable"), ("", "slower")])
def test_hosts_whose_processor_has_one_name(identity: str, kind: str) -> None:
    """They are two machines where their identities differ; a file from before there was one says nothing of it."""
    assert [kind] == kinds({}, SLOW, platform={**RUN["platform"], "identity": identity})


@pytest.mark.parametrize(("fields", "code"), [(SLOW, 1), (broken("crash", "SIGSEGV"), 1), ({}, 0)])
def test_exit_code(fields: dict[str, Any], code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is 1 where something is slower, worse or gone, and the table says what."""
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text(render(make_results([make_record(), make_record("latency")]), "json"))
    new.write_text(render(make_results([make_record(**fields), make_record("latency")]), "json"))

    assert code == cli.main(["compare", str(old), str(new)])
    said = capsys.readouterr().out
    assert said.endswith(f"2 cells: {'2 same' if not code else '1 same, 1 ' + kinds({}, fields)[0]}\n")
    assert bool(code) == said.startswith("Cell")


def test_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--json gives every cell with its ratio; --threshold moves the line."""
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text(render(make_results([make_record()]), "json"))
    new.write_text(render(make_results([make_record(**SLOW)]), "json"))

    assert 0 == cli.main(["compare", str(old), str(new), "--json", "--threshold", "20"])
    (change,) = json.loads(capsys.readouterr().out)
    assert ("same", pytest.approx(1.1207, abs=1e-4)) == (change["kind"], change["ratio"])


def test_a_file_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line says which file it is."""
    (tmp_path / "old.json").write_text("{}")

    assert 1 == cli.main(["compare", str(tmp_path / "old.json"), str(tmp_path / "old.json")])
    assert capsys.readouterr().err.startswith(f"inferena: {tmp_path / 'old.json'}: ")
