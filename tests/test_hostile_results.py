"""Property-based tests of result files that somebody else wrote: a page, or one clear error, and nothing in between."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.records import sample_results

from pytest_inferena.commands.cli import main
from pytest_inferena.report import FORMATS, models, render
from pytest_inferena.report.compare import compare
from pytest_inferena.results import Results, ResultsError, journals, read, read_all

DOCUMENT = json.loads(render(sample_results(), "json"))
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document."""
    found = [path]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += places(inner, (*path, key))
    return found


def replaced(path: tuple[Any, ...], value: Any) -> Any:
    """The document with something else in one place."""
    if not path:
        return value
    document = copy.deepcopy(DOCUMENT)
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return document


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(places(DOCUMENT)), ANYTHING)
def test_a_file_is_rendered_or_refused(path: tuple[Any, ...], value: Any) -> None:
    """With anything in any place a file is one that every format shows, or one error that names it."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "hostile.json"
        file.write_text(json.dumps(replaced(path, value)), encoding="utf-8", errors="surrogatepass")
        found: tuple[Results, ...] = ()
        said = str(file)
        try:
            found = read_all(file)
        except ResultsError as error:
            said = str(error)
        assert str(file) in said
        for results in found:
            for name in FORMATS:
                assert render(results, name)
            assert compare(results, results, 0.05) is not None
        models.pages(found)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_what_is_no_result_file(data: bytes) -> None:
    """Any other bytes are refused by one error, in any place where a file is read."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "noise"
        file.write_bytes(data)
        for reader in (read, read_all):
            with pytest.raises(ResultsError):
                reader(file)


EVIL = "\x1b[31m\x1b]0;title\x07"
DEEP = json.loads("[" * 900 + "]" * 900)
REFUSED = [
    (("records", 0, "median"), 10**400, "record 1: median: is a whole number of 1329 bits, over 63"),
    (("records", 0, "median"), 1.7e308, "record 1: median: expected at most 1e+100, found 1.7e+308"),
    (("records", 0, "extra"), {"deep": DEEP}, "record 1: extra.deep.0"),
    (("run", "id"), "../../x", "run: id: expected a name of letters, digits, '.', '_' and '-', found '../../x'"),
    (("run", "id"), EVIL, r"run: id: expected a name of letters, digits, '.', '_' and '-', found '\x1b"),
]


@pytest.mark.parametrize(("path", "value", "message"), REFUSED, ids=["power", "large", "deep", "place", "escapes"])
def test_what_no_reader_expects_is_refused_by_name(
    path: tuple[Any, ...], value: Any, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever reads the file says in one line which field it is."""
    file = tmp_path / "hostile.json"
    file.write_text(json.dumps(replaced(path, value)))
    commands = (["coverage", str(file)], ["compare", str(file), str(file)], ["report", str(file), "--html", "x.html"])
    said = {(main(command), capsys.readouterr().err.partition(message)[0]) for command in commands}

    assert {(1, f"inferena: {file}: ")} == said


def test_no_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file of several runs that has none is told to be empty."""
    file = tmp_path / "empty.json"
    file.write_text('{"schema": 1, "runs": []}')

    assert 1 == main(["coverage", str(file)])
    assert f"inferena: {file}: holds no runs\n" == capsys.readouterr().err


@pytest.mark.parametrize("field", ["hashes", "reason", "versions", "model", "backend", "weights", "title"])
def test_escape_sequences_reach_no_terminal(field: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever text a file has, commands show it as text."""
    document, names = copy.deepcopy(DOCUMENT), ("program", "weights", "inputs", "adapter")
    for number, record in enumerate(document["records"]):
        others = {"hashes": dict.fromkeys(names, f"{EVIL[number % 4 :]}"), "versions": {EVIL: EVIL}}
        record[field] = others.get(field, EVIL)
    document["run"]["titles"]["models"] |= dict.fromkeys(document["run"]["titles"]["models"], EVIL)
    files = [tmp_path / "plain.json", tmp_path / "hostile.json", tmp_path / "joined.json"]
    for file, content in zip(files, (DOCUMENT, document), strict=False):
        file.write_text(json.dumps(content))
    plain, hostile, joined = map(str, files)
    for command in (["coverage", hostile], ["compare", plain, hostile], ["merge", plain, hostile, "-o", joined]):
        main(command)
    said = capsys.readouterr()

    assert not {"\x1b", "\x07"} & {*said.out, *said.err}


def test_two_models_of_one_title() -> None:
    """Both are shown, told apart by their names."""
    document = copy.deepcopy(DOCUMENT)
    names = [*document["run"]["titles"]["models"]]
    document["run"]["titles"]["models"] = dict.fromkeys([*names, "other"], "Same")
    document["records"].append({**document["records"][0], "model": "other"})
    with TemporaryDirectory() as folder:
        file = Path(folder) / "same.json"
        file.write_text(json.dumps(document))
        pages = models.pages(read_all(file))

    assert {f"same-{name.replace('_', '-')}.md" for name in ("other", names[0])} <= pages.keys()


def test_what_is_no_journal_is_left_out(tmp_path: Path) -> None:
    """A pipe, a folder and a link to nothing among the journals are never waited for."""
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / "link.jsonl").symlink_to("nowhere")
    (tmp_path / "one.jsonl").touch()

    assert [tmp_path / "one.jsonl"] == journals(tmp_path)
