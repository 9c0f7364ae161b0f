"""What an engine can do wrong in any phase, in whatever language it is written: it needs its two pipes and no more."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
MIB = 1 << 20
GOOD: dict[str, dict[str, Any]] = {
    "hello": {"protocol": 1, "versions": {}, "ran": "chaos"},
    "load": {"ns": 5},
    "compile": {"ns": 5, "ran": "chaos"},
    "measure": {"ns": [5], "steps_per_sample": 1, "warmups": 0, "few": False, "cpu_per_wall": 1.0},
    "outputs": {},
}
"""Request → an answer that is right."""


def fault(entry: str | None = None) -> dict[str, Any]:
    """What is to go wrong, in an entry or whichever runs."""
    file = HERE / "fault.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return {} if entry and found.get("entry") not in {None, entry} else found


def sleep() -> None:
    """For longer than any deadline."""
    time.sleep(600)


def pipe(line: bytes) -> None:
    """Write to the protocol's pipe, where only answers belong."""
    while line:
        line = line[os.write(int(os.environ["INFERENA_WRITE_FD"]), line) :]


def answer(**changed: Any) -> bytes:
    """A right answer to the request that is answered now, with some fields changed."""
    return json.dumps({"ok": True, **GOOD[fault()["phase"]], **changed}).encode() + b"\n"


def instead(line: bytes) -> None:
    """Write this in place of an answer."""
    pipe(line)
    sleep()


def half() -> None:
    """Begin an answer, and end."""
    pipe(answer()[:9])
    os._exit(3)


def lie(ns: float) -> None:
    """Answer with a duration."""
    instead(answer(ns=[ns] if fault()["phase"] == "measure" else ns))


def drip() -> None:
    """Answer at one byte a second."""
    for byte in answer():
        pipe(bytes([byte]))
        time.sleep(1)


def deaf() -> None:
    """Hang, and ignore whoever asks for an end."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sleep()


def child() -> None:
    """Start a process that leaves the session, and crash."""
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    (HERE / "child").write_text(str(subprocess.Popen(command, start_new_session=True).pid))
    os._exit(3)


def grow() -> None:
    """Take memory without end."""
    taken = []
    while True:
        taken.append(bytearray(b"x") * (8 * MIB))
        time.sleep(0.005)


def flood() -> None:
    """Print a gigabyte."""
    for _ in range(1024):
        os.write(1, b"noise\n" * (MIB // 6))


def overwrite(file: Path) -> None:
    """Put zeros in the place of all numbers of a file that was prepared."""
    content, mode = file.read_bytes(), file.stat().st_mode
    begin = 8 + int.from_bytes(content[:8], "little")
    file.chmod(0o644)
    with file.open("r+b") as there:
        there.seek(begin)
        there.write(bytes(len(content) - begin))
    file.chmod(mode)


def results(size: int) -> None:
    """Write a file of outputs that has nothing in it, and say that it is done."""
    with Path("outputs.safetensors").open("wb") as file:
        file.truncate(size)
    instead(answer())


ACTIONS: dict[str, Callable[[], Any]] = {
    "exit 0": lambda: os._exit(0),
    "exit 1": lambda: os._exit(1),
    "exit 77": lambda: os._exit(77),
    "SIGSEGV": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "SIGABRT": lambda: os.kill(os.getpid(), signal.SIGABRT),
    "SIGKILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "SIGSTOP": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "hangs": sleep,
    "hangs, deaf to SIGTERM": deaf,
    "leaves a child in its own session": child,
    "prints 1 GB": flood,
    "memory to the limit": grow,
    "answers garbage": lambda: pipe(b"\x00\xffSegmentation fault? No, just talking.\n"),
    "answers half a line": half,
    "answers twice": lambda: instead(answer() * 2),
    "answers another request": lambda: instead(b'{"ok": true, "versions": {}}\n'),
    "answers 2 MB": lambda: pipe(b"x" * (2 * MIB) + b"\n"),
    "answers a byte a second": drip,
    "late by a second": lambda: time.sleep(1),
    "overwrites golden": lambda: overwrite(Path(fault()["golden"])),
    "a duration of 0": lambda: lie(0),
    "a duration below 0": lambda: lie(-1),
    "a duration of 1e300": lambda: lie(1e300),
    "outputs of no bytes": lambda: results(0),
    "outputs of 10 GB": lambda: results(10 << 30),
}
