"""What differs between systems, as far as Linux lets it be tested: types, fakes, and threads in place of polls."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from tests.workers import alive, failure, open_files, until

from pytest_inferena.processes import client
from pytest_inferena.processes.threaded import Threaded
from pytest_inferena.system import posix

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_inferena.processes.client import Worker

ROOT = Path(__file__).parents[1]
WINDOWS: Any = importlib.import_module("pytest_inferena.system.windows")


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_types(platform: str) -> None:
    """A type checker that knows what Python has on a system finds nothing that is missing there."""
    command = [sys.executable, "-m", "mypy", "--platform", platform, "src"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert 0 == done.returncode, done.stdout


IMPORTED = """
import asyncio, ctypes.wintypes, importlib, os, pkgutil, selectors, signal, subprocess, sys
import filelock, msgspec, numpy, packaging, pytest, tabulate, xdist.scheduler

class Missing:
    def find_spec(self, name, *_):
        if name in {"fcntl", "resource", "pwd", "grp", "termios", "posix"}:
            raise ImportError(name)

for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Missing())
for name in ("killpg", "geteuid", "sysconf", "sched_getaffinity", "sched_setaffinity", "pidfd_open", "fork", "setsid"):
    delattr(os, name)
del signal.SIGKILL
sys.platform = "win32"
import pytest_inferena
for found in pkgutil.walk_packages(pytest_inferena.__path__, "pytest_inferena."):
    room = found.name.split(".")[1]
    if room not in {"program", "prepare", "explain"} and found.name not in {
        "pytest_inferena.worker.__main__", "pytest_inferena.worker.aten",
        "pytest_inferena.system.posix", "pytest_inferena.processes.selecting",
    }:
        importlib.import_module(found.name)
assert "pytest_inferena.processes.threaded" in sys.modules and "pytest_inferena.plugin" in sys.modules
"""


def test_imports() -> None:
    """What runs in pytest's process and in a worker is imported where there is nothing of Unix."""
    done = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=False)

    assert "" == done.stderr


@pytest.fixture
def threaded(start: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Worker]:
    """Starts workers behind the channel of Windows."""
    monkeypatch.setattr(client, "Pipes", Threaded)
    return start


def test_threads_carry_what_polls_carry(threaded: Callable[..., Worker]) -> None:
    """Requests and answers of any length, and the end of an endless log."""
    worker = threaded(
        "print('x' * 100_000, 'the end', flush=True); answer(ok=True, ns=5, was=len(line), text='y' * 900_000)"
    )
    replies = [worker.ask("load", 30, program="p" * 500_000) for _ in range(2)]

    assert [(500_035, 900_000)] * 2 == [(reply["was"], len(reply["text"])) for reply in replies]
    assert worker.tail().endswith("the end\n")
    assert len(worker.tail()) <= 4096


@pytest.mark.parametrize(
    ("body", "early", "expected"),
    [
        ("os._exit(3)", "", ("crash", "load: exited with status 3")),
        ("say(b'{\"ok\": true'); os._exit(3)", "", ("crash", "load: exited with status 3")),
        ("", "sys.exit(4)", ("crash", "load: exited with status 4")),
        ("os.set_inheritable(writes, True); subprocess.Popen(['sleep', '60'], close_fds=False); os._exit(3)",
         "", ("crash", "load: exited with status 3")),
        ("time.sleep(60)", "", ("timeout", "load: no answer in 1 s; --inferena-timeout=load=SECONDS gives it longer")),
        ("say(b'x' * (1 << 24))", "", ("error", "load: broke the protocol: a line over 1048576 bytes")),
        ("", "answer(ok=True); time.sleep(60)",
         ("error", "load: broke the protocol: an answer that nobody asked for: b'{\"ok\": true}\\n'")),
    ],
    ids=["exit", "half", "early", "child", "hang", "endless", "unasked"],
)  # fmt: skip
def test_threads_tell_every_end(
    threaded: Callable[..., Worker], body: str, early: str, expected: tuple[str, str]
) -> None:
    """Whatever a worker does, its outcome is the one that polls find, and no process and no file stays open."""
    before = open_files()
    worker = threaded(body, early=early)
    if early:
        time.sleep(1)
    found = failure(worker, deadline=1 if "sleep" in body else 30)
    until(lambda: open_files() <= before)

    assert expected == found
    assert not alive(worker.process.pid)
    assert before == open_files()


class Kernel:
    """kernel32.dll, which writes down what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., int]:
        def call(*arguments: Any) -> int:
            self.asked.append(name)
            if name == "SetInformationJobObject":
                assert (9, 0x2000, arguments[3]) == (arguments[1], arguments[2]._obj.flags, 144)
            if name == "GlobalMemoryStatusEx":
                assert 64 == arguments[0]._obj.length
                arguments[0]._obj.sizes[0] = 24 << 30
            return 77

        return call


def test_a_job_ends_with_all_that_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker is put into a job that ends when it is closed; structures have the sizes that Windows documents."""
    kernel = Kernel()
    monkeypatch.setattr(WINDOWS, "kernel", lambda: kernel)
    WINDOWS.Group(SimpleNamespace(_handle=5)).kill()

    assert [
        "CreateJobObjectW", "SetInformationJobObject", "AssignProcessToJobObject", "TerminateJobObject", "CloseHandle"
    ] == kernel.asked  # fmt: skip
    assert 24 << 10 == WINDOWS.memory_mib()


def test_handles_are_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child inherits the handles of its two pipes and no other; nothing that is started later does."""
    told: list[tuple[int, bool]] = []
    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(get_osfhandle=lambda descriptor: descriptor + 100))
    monkeypatch.setattr(os, "set_handle_inheritable", lambda *change: told.append(change), raising=False)
    monkeypatch.setattr(subprocess, "STARTUPINFO", SimpleNamespace, raising=False)
    monkeypatch.setattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 512, raising=False)
    with WINDOWS.inherited(3, 4) as own:
        during = [*told]

    assert [(103, True), (104, True)] == during
    assert [(103, False), (104, False)] == told[2:]
    assert ({"handle_list": [103, 104]}, 512) == (own["startupinfo"].lpAttributeList, own["creationflags"])


def test_a_worker_takes_its_handles(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows the numbers in its environment are handles."""
    from pytest_inferena.worker import server

    opened: list[tuple[int, int]] = []

    def open_osfhandle(*given: int) -> int:
        opened.append((given[0], given[1]))
        return 9

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(os, "set_handle_inheritable", lambda *_: None, raising=False)
    monkeypatch.setattr(os, "O_BINARY", 0x8000, raising=False)
    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(open_osfhandle=open_osfhandle))
    monkeypatch.setenv("INFERENA_READ_FD", "1234")

    assert 9 == server._end("INFERENA_READ_FD", os.O_RDONLY)
    assert [(1234, 0x8000)] == opened


def test_endings() -> None:
    """A status of Windows is told in words, and want of memory apart; those of Unix are signals."""
    codes = {-1073741819: "exited", 0xC0000409: "aborted", 0xC0000017: "oom", 3: "exited"}

    assert codes == {code: WINDOWS.ending(code)[0] for code in codes}
    assert "killed by access violation (0xC0000005)" == WINDOWS.ending(-1073741819)[1]
    assert ("killed", "killed by SIGKILL") == posix.ending(-9)
    assert ("aborted", "exited with status 3") == (posix.ending(-6)[0], posix.ending(3)[1])


def test_command_lines() -> None:
    """A command is quoted for the shell of the system."""
    words = ["pytest", "a b::c[d]"]

    assert ("pytest 'a b::c[d]'", 'pytest "a b::c[d]"') == (posix.joined(words), WINDOWS.joined(words))
