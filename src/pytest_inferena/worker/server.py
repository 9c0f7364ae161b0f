"""The Python worker: it answers requests with an adapter until it is told to quit."""

from __future__ import annotations

import importlib.metadata
import os
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferena.worker.adapter import Adapter, Setup, Step
from pytest_inferena.worker.capabilities import require
from pytest_inferena.worker.exchange import Exchange
from pytest_inferena.worker.format import Entry, Program, Unsupported
from pytest_inferena.worker.loading import load_adapter
from pytest_inferena.worker.protocol import VERSION, ProtocolError, encode, parse
from pytest_inferena.worker.timing import Loop, measure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_inferena.worker.capabilities import Operators

__all__ = ["Server", "Weights", "load_adapter", "main"]  # adapters of older versions load files beside them from here


def main(arguments: list[str]) -> int:
    """Serve one adapter, and return the exit status: `main([FRAMEWORK, ADAPTER_FILE, DISTRIBUTION, …])`."""
    framework, file, *distributions = arguments
    server = Server(framework, Path(file), distributions)
    ends = _end("INFERENA_READ_FD", os.O_RDONLY), _end("INFERENA_WRITE_FD", os.O_WRONLY)
    with os.fdopen(ends[0], "rb") as requests, os.fdopen(ends[1], "wb") as replies:
        for line in requests:
            replies.write(server.respond(line))
            replies.flush()
            if server.done:
                break
    return 0


def _end(variable: str, flags: int) -> int:
    """One of the pipes that the harness has handed over: on Windows by its handle, elsewhere by its descriptor."""
    number = int(os.environ[variable])
    if sys.platform == "win32":
        import msvcrt

        os.set_handle_inheritable(number, False)
        return msvcrt.open_osfhandle(number, flags | os.O_BINARY)
    os.set_inheritable(number, False)  # what the engine starts must not hold the pipes open
    return number


class Weights(Mapping[str, Any]):
    """The parameters by name. Each array is read when it is asked for."""

    def __init__(self, file: Path) -> None:
        from safetensors import safe_open

        self._file: Any = safe_open(file, framework="numpy")
        self._names: list[str] = list(self._file.keys())

    def __getitem__(self, name: str) -> Any:
        return self._file.get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class Server:
    """One adapter behind the protocol. The method with a request's name answers it."""

    def __init__(self, framework: str, file: Path, distributions: list[str]) -> None:
        self.framework, self.file, self.distributions = framework, file, distributions
        self.done = False
        self.adapter: Adapter | None = None
        self.entries: dict[str, Entry] = {}
        self.steps: dict[str, Step] = {}
        self.requests: dict[str, Callable[..., dict[str, Any]]] = {
            "hello": self.hello,
            "load": self.load,
            "compile": self.compile,
            "measure": self.measure,
            "outputs": self.outputs,
            "quit": self.quit,
        }

    def respond(self, line: bytes) -> bytes:
        """The line that answers one request."""
        try:
            return encode(self.answer(line))
        except ProtocolError as error:
            return encode({"ok": False, "kind": "error", "message": f"the answer is {error}"[:2000]})

    def answer(self, line: bytes) -> dict[str, Any]:
        """Handle one request. Whatever goes wrong becomes an answer with a type."""
        try:
            request = parse(line)
            name = request.pop("request", None)
            if name not in self.requests:
                raise ProtocolError(f"unknown request {name!r}; known are {', '.join(self.requests)}")
            return {"ok": True, **self.requests[name](**request)}
        except Unsupported as error:
            return {"ok": False, "kind": "unsupported", "message": f"{error} (engine {self.framework})"}
        except Exception as error:  # noqa: BLE001 - the engine may raise anything; all of it is reported
            traceback.print_exc()
            sys.stderr.flush()
            kind = "oom" if isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__ else "error"
            return {"ok": False, "kind": kind, "message": f"{type(error).__name__}: {error}"[:2000]}

    def hello(  # noqa: PLR0913, PLR0917 - the request's fields
        self,
        protocol: int,
        backend: str,
        device: str,
        threads: int,
        scratch: str,
        exchange: str | None = None,
    ) -> dict[str, Any]:
        """Import the framework and tell its versions."""
        if protocol != VERSION:
            raise ProtocolError(f"version {protocol} was asked for, this worker speaks {VERSION}")
        module = load_adapter(self.framework, self.file)
        setup = Setup(backend, device, threads, Path(scratch), Path(exchange) if exchange else None)
        self.adapter = module.Adapter(setup)
        versions = {name: importlib.metadata.version(name) for name in self.distributions}
        answer = {"protocol": VERSION, "versions": versions, "ran": self.adapter.describe()}
        if (operators := self.operators()) is not None:
            answer["operators"] = operators
        return answer

    def operators(self) -> Operators | None:
        """What the engine has of a Program's operators; exchange files were made by that already."""
        engine = self.engine()
        return None if engine.setup.exchange or isinstance(engine, Exchange) else engine.operators

    def load(self, program: str, entries: list[str]) -> dict[str, Any]:
        """Read all files there are to read and bring the parameters into the engine."""
        engine = self.engine()
        document = Program.read(Path(program))
        self.entries = {name: document.entry(name) for name in entries}
        for entry in self.entries.values():
            entry.arrays("inputs")
            entry.arrays("constants")
        start = time.monotonic_ns()
        engine.load(document, Weights(Path(program) / "weights.safetensors"))
        return {"ns": max(time.monotonic_ns() - start, 1)}

    def compile(self, entry: str) -> dict[str, Any]:
        """From the Program in memory to the first complete result."""
        engine = self.engine()
        if entry not in self.entries:
            raise ProtocolError(f"entry {entry!r} is not loaded; loaded are {_names(self.entries)}")
        if (operators := self.operators()) is not None:
            require(operators, self.entries[entry])
        start = time.monotonic_ns()
        step = engine.compile(self.entries[entry])
        step()
        step.synchronize()
        duration = max(time.monotonic_ns() - start, 1)
        self.steps[entry] = step
        return {"ns": duration, "ran": engine.describe(), "fallback": getattr(step, "fallback", 0)}

    def measure(self, entry: str, loop: dict[str, Any]) -> dict[str, Any]:
        """Warm up and time steps of an entry that was compiled."""
        timing = measure(self.compiled(entry), Loop.from_json(loop))
        return {
            "ns": timing.samples,
            "steps_per_sample": timing.steps_per_sample,
            "warmups": timing.warmups,
            "few": timing.few,
            "cpu_per_wall": timing.cpu_per_wall,
        }

    def outputs(self, entry: str, file: str) -> dict[str, Any]:
        """Write what the last step of an entry computed."""
        import numpy as np
        from safetensors.numpy import save_file

        arrays = self.compiled(entry).outputs()
        save_file({name: np.asarray(array, order="C") for name, array in arrays.items()}, file)
        return {}

    def quit(self) -> dict[str, Any]:
        """Answer and end."""
        self.done = True
        return {}

    def engine(self) -> Adapter:
        """The adapter that `hello` made."""
        if self.adapter is None:
            raise ProtocolError("'hello' comes first")
        return self.adapter

    def compiled(self, entry: str) -> Step:
        """The step that `compile` made."""
        if entry not in self.steps:
            raise ProtocolError(f"entry {entry!r} is not compiled; compiled are {_names(self.steps)}")
        return self.steps[entry]


def _names(things: Mapping[str, Any]) -> str:
    return ", ".join(things) or "none"
