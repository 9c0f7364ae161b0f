"""Chaos in what a worker says: the parent checks every answer, and keeps no more of a log than its end."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
from tests.workers import alive, failure

from pytest_inferena.processes.client import Worker, WorkerFailed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_good_answer_is_returned(start: Callable[..., Worker]) -> None:
    """A worker that keeps to the protocol gets its request and gives its answer."""
    worker = start("answer(ok=True, ns=5, was=json.loads(line))")

    assert {"ok": True, "ns": 5, "was": {"request": "load", "program": "p"}} == worker.ask("load", 30, program="p")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"Segmentation fault? No.\n", "not JSON: b'Segmentation fault? No.'"),
        (b"\xff\xfe\n", r"not JSON: b'\xff\xfe'"),
        (b"\n", "not JSON: b''"),
        (b"[" * 100_000 + b"\n", "is JSON nested over 64 deep"),
        (b"[1, 2]\n", "not an object: b'[1, 2]'"),
        (b"{}\n", "'ok' is neither true nor false in {}"),
        (b'{"ok": 1}\n', "'ok' is neither true nor false"),
        (b'{"ok": true}\n', "'ns' is missing in"),
        (b'{"ok": true, "ns": "5"}\n', "'ns' is no duration: '5'"),
        (b'{"ok": true, "ns": 0}\n', "'ns' is no duration: 0"),
        (b'{"ok": true, "ns": NaN}\n', "ns: is nan, which JSON has no number for"),
        (b'{"ok": true, "ns": 1' + b"0" * 400 + b"}\n", "ns: is a whole number of 1329 bits, over 63"),
        (b'{"ok": true, "ns": 1e18, "more": 1e999}\n', "more: is inf, which JSON has no number for"),
        (b'{"ok": true, "ns": 1.1e18}\n', "'ns' is no duration: 1.1e+18"),
        (b'{"ok": true, "ns": true}\n', "'ns' is no duration: True"),
        (b'{"ok": false, "kind": "pass", "message": ""}\n', "a failure has a kind (unsupported, oom, error)"),
        (b'{"ok": false, "kind": "error"}\n', "a failure has a kind"),
        (b"x" * ((1 << 20) + 1) + b"\n", "a line over 1048576 bytes"),
        (b"x" * (1 << 24), "a line over 1048576 bytes"),
    ],
    ids=["garbage", "binary", "empty", "deep", "list", "bare", "one", "field", "type", "zero", "nan",
         "huge", "infinite", "years", "bool",
         "kind", "reason", "long", "endless"],
)  # fmt: skip
def test_nonsense_is_an_error(start: Callable[..., Worker], tmp_path: Path, line: bytes, message: str) -> None:
    """What the protocol does not allow is an error that shows it, and the end of the worker."""
    (tmp_path / "line").write_bytes(line)
    worker = start(f"say(open({str(tmp_path / 'line')!r}, 'rb').read())")
    outcome, said = failure(worker)

    assert "error" == outcome
    assert said.startswith("load: broke the protocol: " + message)
    assert not alive(worker.process.pid)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ns", []),
        ("ns", 5),
        ("ns", [5, -1]),
        ("few", 0),
        ("warmups", -1),
        ("steps_per_sample", 0),
        ("cpu_per_wall", None),
    ],
)
def test_every_field_of_an_answer_is_checked(start: Callable[..., Worker], field: str, value: object) -> None:
    """A field of `measure` that is not what the page says is named."""
    good = {"ok": True, "ns": [5], "steps_per_sample": 1, "warmups": 0, "few": False, "cpu_per_wall": 0.5}
    worker = start(f"answer(**{ {**good, field: value}!r})")

    assert failure(worker, "measure")[1].startswith(f"measure: broke the protocol: {field!r} is no ")


def test_other_version_of_the_protocol_is_an_error(start: Callable[..., Worker]) -> None:
    """A worker that says yes and speaks another version is not believed."""
    worker = start("answer(ok=True, protocol=2, versions={}, ran='')")

    assert ("error", "hello: broke the protocol: 'protocol' is no version: 2") == failure(worker, "hello")


def test_answer_that_nobody_asked_for_is_an_error(start: Callable[..., Worker]) -> None:
    """Two answers to one request never become the answer to the next."""
    worker = start('say(b\'{"ok": true, "ns": 5}\\n\' * 2)')

    assert {"ok": True, "ns": 5} == worker.ask("load", 30)
    assert failure(worker, "compile")[1].startswith("compile: broke the protocol: an answer that nobody asked for")


def test_failure_keeps_its_kind_and_the_worker(start: Callable[..., Worker]) -> None:
    """Unsupported, oom and error are the worker's own words, after which it goes on."""
    worker = start("answer(ok=False, kind=json.loads(line)['request'], message='why')")

    assert [("unsupported", "why"), ("oom", "why"), ("error", "why")] == [
        failure(worker, kind) for kind in ("unsupported", "oom", "error")
    ]
    assert worker.process.poll() is None


def test_request_that_is_too_long_is_an_error(start: Callable[..., Worker]) -> None:
    """The parent keeps to the limit too, and the worker lives on."""
    worker = start("answer(ok=True, ns=5)")
    with pytest.raises(WorkerFailed, match="load: a message of 20000"):
        worker.ask("load", 5, program="x" * 2_000_000)

    assert {"ok": True, "ns": 5} == worker.ask("load", 30)


def test_flood_of_output_takes_no_disk(start: Callable[..., Worker], tmp_path: Path) -> None:
    """Of 100 MB on stdout and stderr the last 4 KiB are kept, and no file is written."""
    worker = start("""
        for _ in range(1000): os.write(1, b'x' * 50000); os.write(2, b'y' * 50000)
        os.write(1, b'the end')
        answer(ok=True, ns=5)
    """)
    worker.ask("load", 60)

    assert worker.tail().endswith("y" * 4000 + "the end")
    assert 4096 == len(worker.tail())
    assert [] == list((tmp_path / "folder0").rglob("*"))


def test_log_outlives_the_worker(start: Callable[..., Worker]) -> None:
    """What a worker printed last is there after its death, also between two requests."""
    worker = start("answer(ok=True, ns=5)\nprint('after', flush=True)\nos.kill(os.getpid(), signal.SIGABRT)")
    worker.ask("load", 30)
    failure(worker, "compile")

    assert "after\n" == worker.tail()


def test_closed_output_is_no_end(start: Callable[..., Worker]) -> None:
    """A worker may close stdout and stderr."""
    worker = start("os.close(1); os.close(2); time.sleep(0.3); answer(ok=True, ns=5)")

    assert {"ok": True, "ns": 5} == worker.ask("load", 30)


def test_parent_sleeps_while_it_waits(start: Callable[..., Worker]) -> None:
    """Two seconds of waiting take next to no processor time of the thread that waits, and no other thread."""
    worker = start("time.sleep(2); answer(ok=True, ns=5)")
    threads, start_cpu = threading.active_count(), time.thread_time()  # the process's also counts pools of other tests
    worker.ask("load", 30)

    assert time.thread_time() - start_cpu < 0.2
    assert threads == threading.active_count()


def test_messages_survive_the_pipe(start: Callable[..., Worker]) -> None:
    """A request near the limit arrives whole."""
    worker = start("answer(ok=True, ns=len(json.loads(line)['program']))")

    assert 1_000_000 == worker.ask("load", 30, program="é" * 10 + "x" * 999_990)["ns"]


def test_durations_longer_than_the_wait(start: Callable[..., Worker]) -> None:
    """A figure that is longer than what was waited for it is no figure, but of another unit or clock."""
    answer = "answer(ok=True, ns=[5, 2e6], steps_per_sample=5000, warmups=0, few=False, cpu_per_wall=1)"
    outcome, message = failure(start(answer), "measure")

    assert "error" == outcome
    assert message.startswith("measure: broke the protocol: durations of 10 s in an answer that took 0")


def test_fields_that_nobody_asked_for_are_ignored(start: Callable[..., Worker]) -> None:
    """Also those that another request's answer has, of whatever type."""
    reply = start("answer(ok=True, ns='soon', steps_per_sample=None)").ask("outputs", 30)

    assert "soon" == reply["ns"]
