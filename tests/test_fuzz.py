"""Readers of what others write: whatever the bytes are, a value or one error of the reader's own, in a blink."""

from __future__ import annotations

import json
import struct
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from tests.mutations import changed, many
from tests.records import make_record, make_run

from pytest_inferena.collect.model import Model
from pytest_inferena.processes.parts import Folder
from pytest_inferena.processes.workload import Workload
from pytest_inferena.results import Journal, ResultsError, latest, read, read_all
from pytest_inferena.store.origins import Origins
from pytest_inferena.verdict.gate import judge
from pytest_inferena.verdict.tensors import GoldenFile
from pytest_inferena.worker import protocol

if TYPE_CHECKING:
    import pytest

SOON = 20.0
"""Seconds. Readers take milliseconds; a busy machine takes its time."""
REPLIES = {
    "hello": {"ok": True, "protocol": 1, "versions": {"numpy": "2.0"}, "ran": "NumPy", "revision": None,
              "operators": {"linear": {"rank": [2, 3]}, "tanh": {"dim": ["last", {"max": 3}]}}},
    "compile": {"ok": True, "ns": 5, "ran": "NumPy"},
    "measure": {"ok": True, "ns": [5, 6, 7.5], "steps_per_sample": 1, "warmups": 2, "few": False, "cpu_per_wall": 0.9},
    "load": {"ok": False, "kind": "oom", "message": "no room"},
}  # fmt: skip
HEADER = json.dumps({
    "output": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
    "loss": {"dtype": "F32", "shape": [], "data_offsets": [16, 20]},
}).encode()  # fmt: skip


def tensors(header: bytes, content: bytes = struct.pack("<5f", 1, 2, 3, 4, 5)) -> bytes:
    """A file of tensors with a header."""
    return struct.pack("<Q", len(header)) + header + content


def journal() -> bytes:
    """A journal of two records."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "run.jsonl"
        with Journal(path, make_run()) as file:
            file.append(make_record("inference"))
            file.append(make_record("latency"))
        return path.read_bytes()


JOURNAL = journal()


@many
@given(
    st.sampled_from([*REPLIES]).flatmap(
        lambda name: st.tuples(st.just(name), changed(json.dumps(REPLIES[name]).encode()))
    )
)
def test_replies(given_reply: tuple[str, bytes]) -> None:
    """A worker's answer is one that every later step can work with, or breaks the protocol."""
    request, line = given_reply
    try:
        reply = protocol.parse(line)
        protocol.check(request, reply)
    except protocol.ProtocolError:
        return
    if reply["ok"] and request == "measure":
        assert all(0 < ns * 1e-9 < 1e10 for ns in reply["ns"])
    json.dumps(reply, allow_nan=False)


@many
@given(changed(tensors(HEADER)) | changed(HEADER).map(tensors))
def test_files_of_tensors(content: bytes) -> None:
    """An engine's outputs are judged, or refused, and nothing outside the file is read."""
    with TemporaryDirectory() as folder:
        right, file = Path(folder) / "golden.safetensors", Path(folder) / "outputs.safetensors"
        right.write_bytes(tensors(HEADER))
        file.write_bytes(content)
        golden, began = GoldenFile(right), time.monotonic()
        try:
            verdict = judge(golden, dict.fromkeys(golden, 1e-7), GoldenFile(file, names=2))
        except ValueError:
            verdict = None
        assert verdict is None or verdict.outcome.judged
        assert time.monotonic() - began < SOON


@many
@given(changed(JOURNAL))
def test_journals(content: bytes) -> None:
    """A journal is read, or refused by name. Among others it is passed over, and going on with it loses nothing."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "run.jsonl"
        path.write_bytes(content)
        for reader in (read, read_all):
            said = str(path)
            try:
                reader(path)
            except ResultsError as error:
                said = str(error)
            assert str(path) in said
        latest(path.parent, lambda _: True)
        try:
            with Journal(path, make_run()) as going_on:
                going_on.append(make_record("training"))
        except ResultsError:
            assert content == path.read_bytes()
        else:
            assert "training" in {record.metric for record in read(path).records}


def test_manifests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A manifest in which anything has changed describes nothing, and says so."""
    monkeypatch.setenv("INFERENA_CACHE", str(tmp_path))
    workload = Workload(Model.from_file(Path(__file__).parent / "project" / "mlp.py"), "tiny", "seeded")
    folder = Folder(workload)
    folder.path.parent.mkdir(parents=True)
    with folder.making() as made:
        (made / "weights.safetensors").write_text("1234")
        folder.publish("base", made, {"golden": {"latency": {"tensors": {"output": 4e-8}}}}, Origins({}, {}))
    [manifest] = folder.path.glob("*/base.manifest.json")
    right = manifest.read_bytes()

    @many
    @given(changed(right))
    def look(content: bytes) -> None:
        manifest.write_bytes(content)
        seen = Folder(workload)
        found = seen.part("base")

        assert found is None or json.loads(content) == json.loads(right)

    look()
