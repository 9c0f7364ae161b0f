"""Tests of the journal, of reading result files, and of the schema."""

import errno
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.records import make_record, make_results, make_run, make_verdict, sample_results

from pytest_inferena.cell import KEY
from pytest_inferena.report import render
from pytest_inferena.results import Journal, Record, ResultsError, latest, plain, read, typed

RUN = make_run()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a journal with an inference and a latency record."""
    path = tmp_path / "deep" / "run.jsonl"
    with Journal(path, RUN) as journal:
        journal.append(make_record("inference"))
        journal.append(make_record("latency"))
    return path


def test_what_was_written_is_read(path: Path) -> None:
    """A journal gives back its header and its records."""
    expected = make_results([make_record("inference"), make_record("latency")])

    assert expected == read(path)


def test_first_line_is_the_header(path: Path) -> None:
    """The layout of a journal is the documented one: a header, then one record a line."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]

    assert [{"schema": 2, "run": plain(RUN)}, plain(make_record("inference")), plain(make_record("latency"))] == lines


def test_every_record_is_synced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record is on the disk before append returns, for a power cut may come next."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda _: synced.append(path.stat().st_size))
    with Journal(path, RUN) as journal:
        journal.append(make_record("training"))

    assert [path.stat().st_size] == synced


def test_later_record_of_a_key_replaces_the_earlier(path: Path) -> None:
    """A cell that ran again counts once, with its last figures and in its first place."""
    again = make_record("inference", median=0.1)
    with Journal(path, RUN) as journal:
        journal.append(again)

    assert (again, make_record("latency")) == read(path).records


def test_key_is_in_the_order_of_its_names() -> None:
    """The key has the twelve parts that identify a cell."""
    expected = ("unet", "mu", "main", "cpu", "latency", "full", "float32", 2, 4, None, "noise", "tuned")

    assert expected == make_record("latency", "mu", batch=4, variant="tuned").key
    assert len(expected) == len(KEY)


@pytest.mark.parametrize("tail", [b'{"model": "un', b"\0\0\0\0", b"\xff\xfe", b'{"model": "\xc3', b"\0\0\n"])
def test_torn_last_line_is_tolerated_and_reported(path: Path, tail: bytes) -> None:
    """What a power cut leaves costs one record, and reading says so."""
    path.write_bytes(path.read_bytes() + tail)
    found = read(path)

    assert 2 == len(found.records)
    assert "record 3, the last, is torn" in found.warnings[0]


@pytest.mark.parametrize("cut", [b'{"model": "un', b"\0\0\n", b""])
def test_a_torn_journal_can_be_gone_on_with(path: Path, cut: bytes) -> None:
    """Opening the same run again cuts off the torn line and appends after the last whole one."""
    path.write_bytes(path.read_bytes() + cut)
    with Journal(path, RUN) as journal:
        journal.append(make_record("training"))
    found = read(path)

    assert ["inference", "latency", "training"] == [record.metric for record in found.records]
    assert () == found.warnings


def test_a_lost_newline_costs_nothing(path: Path) -> None:
    """A whole record whose newline is missing is kept, by reading and by going on."""
    path.write_bytes(path.read_bytes().rstrip())
    with Journal(path, RUN) as journal:
        journal.append(make_record("training"))

    assert 3 == len(read(path).records)


def test_another_run_is_never_overwritten(path: Path) -> None:
    """A file that holds another run is left as it is, with the remedy."""
    before = path.read_bytes()
    with pytest.raises(ResultsError, match=re.escape(f"{path}: exists and holds run") + ".*name another file"):
        Journal(path, make_run(id="other"))

    assert before == path.read_bytes()


def test_full_disk_keeps_what_was_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that ends halfway is undone, the error has the remedy, and the next write works."""
    before, write = path.read_bytes(), os.write

    def half(file: int, line: bytes) -> int:
        if len(line) > 100:
            return write(file, line[:-100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Journal(path, RUN) as journal:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", half)
            with pytest.raises(ResultsError, match=r"run\.jsonl: .*No space.*--inferena-resume"):
                journal.append(make_record("training"))
        after = path.read_bytes()
        journal.append(make_record("compile"))

    assert before == after
    assert ["inference", "latency", "compile"] == [record.metric for record in read(path).records]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_full_disk_from_the_start() -> None:
    """A journal that cannot even take its header says so at once."""
    with pytest.raises(ResultsError, match="/dev/full: cannot be written"):
        Journal(Path("/dev/full"), RUN)


def test_unwritable_place_names_the_file(tmp_path: Path) -> None:
    """A folder that is a file gives one error with the path."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultsError, match=r"file/run\.jsonl: cannot be written"):
        Journal(tmp_path / "file" / "run.jsonl", RUN)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"median": float("nan")}, "median: is nan, which JSON has no number for; write null"),
        ({"samples": [[1.0, float("inf")]]}, r"samples\.0\.1: is inf"),
        ({"extra": {"peak": [float("-inf")]}}, r"extra\.peak\.0: is -inf"),
        ({"extra": {"path": Path()}}, "not JSON serializable"),
        ({"outcome": "passed"}, "outcome: expected one of 'pass', "),
        ({"attempts": ["pass", ""]}, r"attempts\[1\]: expected one of 'pass', "),
    ],
)
def test_a_bad_record_is_never_written(path: Path, changes: dict[str, Any], message: str) -> None:
    """What could not be read back is refused, and names record and field."""
    before = path.read_bytes()
    with Journal(path, RUN) as journal, pytest.raises(ResultsError, match=f"record unet-alpha-.*{message}"):
        journal.append(replace(make_record(), **changes))

    assert before == path.read_bytes()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("median", "fast", "median: expected number or null, found 'fast' (str)"),
        ("median", True, "median: expected number or null, found True (bool)"),
        ("median", -1, "median: expected at least 0, found -1"),
        ("interval", [1], "interval: expected 2 items, found 1"),
        ("interval", [1, None], "interval[1]: expected number, found None (NoneType)"),
        ("samples", float("nan"), "samples: is nan, which JSON has no number for; write null"),
        ("wall", float("inf"), "wall: is inf, which JSON has no number for; write null"),
        ("versions", {"x": 1}, "versions.x: expected string, found 1 (int)"),
        ("verdict", {}, "verdict.outcome: is missing"),
        ("verdict", make_verdict(nrmse="0"), "verdict.nrmse: expected number or null, found '0' (str)"),
        ("threads", 0, "threads: expected at least 1, found 0"),
        ("unit", "ms", "unit: expected one of 's', found 'ms'"),
        ("model", ["unet"], "model: expected string, found ['unet'] (list)"),
    ],
)
def test_wrong_field_is_one_clear_error(path: Path, field: str, value: object, message: str) -> None:
    """A wrong type or value names the file, the record's number and the field."""
    lines = path.read_text().splitlines()
    lines[2] = json.dumps({**plain(make_record("latency")), field: value})
    path.write_text("\n".join(lines))
    with pytest.raises(ResultsError) as caught:
        read(path)

    assert f"{path}: record 2: {message}" == str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "neither a journal nor a results document"),
        ("[]", "neither a journal nor a results document"),
        ("[" * 100_000, "neither a journal nor a results document"),
        (
            '{"schema": 3, "run": 0, "records": []}',
            "has schema 3, but this pytest-inferena reads up to 2; upd",
        ),
        ('{"schema": true, "run": {}}', "schema is True, not a number from 1"),
        ('{"run": {}}', "schema is None, not a number from 1"),
        ('{"schema": 1}', "run: expected object, found None"),
        ('{"schema": 1, "run": {"id": "x"}}', "run: date: is missing"),
        ('{"schema": 1, "run": %s}\n[]\n{}\n', "record 1: expected object, found [] (list)"),
        ('{"schema": 1, "run": %s}\n{"mod\n{}\n', "record 1 is not JSON; remove its line"),
        ('{"schema": 1,\n"run": %s, "records": [{}]}', "record 1: model: is missing"),
    ],
)
def test_what_is_no_result_file_is_one_clear_error(path: Path, content: str, message: str) -> None:
    """Foreign, future and damaged files are told apart."""
    path.write_text(content.replace("%s", json.dumps(plain(RUN))))
    with pytest.raises(ResultsError, match=re.escape(f"{path}: {message}" if "neither" not in message else message)):
        read(path)


def test_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    """A file that is not there is named."""
    with pytest.raises(ResultsError, match=r"no\.jsonl: cannot be read: No such file"):
        read(tmp_path / "no.jsonl")


def test_document_reads_as_its_journal(tmp_path: Path) -> None:
    """What the JSON report writes is read back to the same results."""
    path = tmp_path / "results.json"
    path.write_text(render(sample_results(), "json"))

    assert sample_results() == read(path)


def test_sparse_records_get_defaults_and_foreign_fields_stay(tmp_path: Path) -> None:
    """A third party's records need the key and the outcome only, and may say more."""
    key = {"model": "m", "framework": "f", "backend": "b", "device": "cpu", "metric": "latency", "threads": 1}
    path = tmp_path / "results.json"
    document = {
        "schema": 1,
        "run": plain(RUN),
        "records": [{**key, "outcome": "pass", "verdict": {"outcome": "pass"}, "x": 1}],
    }
    path.write_text(json.dumps(document, indent=2))
    record = read(path).records[0]

    assert ("vanilla", (), None, {"x": 1}) == (record.variant, record.samples, record.batch, record.others)
    assert record == typed(Record, plain(record))


def test_latest_is_the_newest_accepted(path: Path) -> None:
    """Resuming finds the journal written last among those of this machine, and names unreadable ones."""
    for age, name in enumerate(("broken", "foreign", "new", "run")):
        file = path.with_name(f"{name}.jsonl")
        if name == "broken":
            file.write_text("{")
        elif name != "run":
            Journal(file, make_run(id=name)).close()
        os.utime(file, (1000 - age, 1000 - age))
    found = latest(path.parent, lambda run: run.id != "foreign")

    assert found is not None
    assert "new" == found.run.id
    assert "passed over" in found.warnings[0]
    assert "broken.jsonl" in found.warnings[0]


def test_no_journal_is_no_error(tmp_path: Path) -> None:
    """The first run ever has nothing to resume."""
    assert latest(tmp_path / "missing", lambda _: True) is None
