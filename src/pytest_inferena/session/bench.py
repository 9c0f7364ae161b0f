"""The cells of one target: prepare it, start a worker, measure, fetch what it computed, judge, make the record."""

from __future__ import annotations

import contextlib
import datetime as dt
import shutil
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from pytest_inferena.cell import Outcome
from pytest_inferena.collect.loop import shared
from pytest_inferena.engines.limits import Limits
from pytest_inferena.machine.several import gone
from pytest_inferena.processes.client import Worker, WorkerFailed
from pytest_inferena.processes.marks import marks
from pytest_inferena.processes.preparer import Preparer
from pytest_inferena.processes.workload import Workload
from pytest_inferena.results import Record
from pytest_inferena.session.figures import Process, device_flags, figures, flags, loop_facts, on_cpu
from pytest_inferena.session.judging import judged
from pytest_inferena.session.noise import AGAIN, Calibrations, noisiest
from pytest_inferena.session.resources import implausible, reached, resources
from pytest_inferena.session.starting import greet, start
from pytest_inferena.store.kernels import Kernels
from pytest_inferena.store.scratch import Scratch
from pytest_inferena.store.turns import turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pytest_inferena.cell import Cell
    from pytest_inferena.collect.settings import Settings
    from pytest_inferena.collect.target import Target
    from pytest_inferena.processes.memory import Memory
    from pytest_inferena.processes.preparer import Prepared
    from pytest_inferena.results import Noise
    from pytest_inferena.verdict.gate import Verdict

NS = 1e-9


@dataclass
class Harness:
    """What all targets of a session share."""

    settings: Settings

    def __post_init__(self) -> None:
        self._scratch = Scratch()
        self.scratch = self._scratch.folder
        marks().watch(self.scratch)
        given = self.settings
        self.calibrations = Calibrations(given.threads)
        self.preparer = Preparer(given.threads, given.deadline("prepare", {}), given.passed, given.limits)

    def workload(self, target: Target) -> Workload:
        """What a target runs."""
        return Workload.of(target, self.settings)

    def close(self) -> None:
        """End and remove what only this session needed."""
        self.preparer.close()
        self._scratch.close()


@dataclass
class Clock:
    """When a cell had the device, and for how long."""

    started: str = ""
    wall: float = 0.0
    """Seconds."""

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Runs inside."""
        self.started = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
        began = time.monotonic()
        try:
            yield
        finally:
            self.wall = round(time.monotonic() - began, 3)


class Bench:
    """A target with its worker. Cells share it as a fixture of the session's scope."""

    def __init__(self, harness: Harness, target: Target) -> None:
        self.harness, self.target, self.settings = harness, target, harness.settings
        self.unit = self.settings.placing.unit(target.backend)
        self.prepared: Prepared | None = None
        self.worker: Worker | None = None
        self.kept: Kernels | None = None
        self.hello: dict[str, Any] = {}
        self.compiled: dict[str, dict[str, Any]] = {}
        self.expanded: Mapping[str, Mapping[str, int]] = {}
        self.clock, self.log = Clock(), ""
        self.loaded: float | None = None
        """Seconds that the last worker took for the parameters; None: it has not come to that."""
        self.memory: Memory | None = None
        """Of the last worker."""
        self.shared: Path | None = None
        """Where the processes of a cell find kernels that the first compiled; None: they compile themselves."""
        self.tensors: Path | None = None
        """Where what was judged is kept; None: nowhere."""

    def run(self, cell: Cell, loop: Mapping[str, Any]) -> Record:
        """Measure and judge one cell. Whatever becomes of the worker becomes the cell's record.

        Any other exception goes through: then `facts` tells what is known of the cell.
        """
        missing = self.target.framework.missing(self.target.backend)
        self.clock, self.log = Clock(), ""
        try:
            too_big = self.target.model.too_big(cell.entry, cell.size)
            refused = self.settings.placing.refusal(self.target.backend)
            if reason := self.target.absent(cell.metric) or too_big or refused:
                raise WorkerFailed(Outcome.UNSUPPORTED, reason)
            if missing:
                raise WorkerFailed(Outcome.NOT_INSTALLED, missing)
            with turn(self.unit.identity if self.unit else ""), self.clock.running():
                record = self._measure(cell, loop)
        except WorkerFailed as failure:
            lost = gone(self.unit) if failure.outcome.broke else ""
            record = Record.of(cell, failure.outcome, reason=f"{failure}{lost}")
            # A worker that has loaded lives on where it only lacks something, so its log is of other cells too.
            if record.outcome is not Outcome.UNSUPPORTED or self.loaded is None:
                self._end()
        except BaseException:  # a time limit of pytest's, Ctrl-C: nobody knows how far the worker is
            self._end()
            raise
        if notes := self.harness.preparer.take_notes():
            record = replace(record, extra={**record.extra, "notes": notes})
        return replace(record, **self.facts())

    def facts(self) -> dict[str, Any]:
        """Fields of the last cell's record that do not depend on how it ended; the log only if its worker has ended."""
        clock = {"started": self.clock.started, "wall": self.clock.wall}
        return {**clock, "load": self.loaded, "log": self.log, **self._provenance()}

    def _end(self) -> None:
        """Keep the end of the worker's log, and end it."""
        self.log = self.worker.tail() if self.worker else ""
        self.close()

    def close(self, *, keep: bool = False) -> None:
        """End the worker; the next cell or process starts a fresh one, and may keep the kernels of this one."""
        whole = self.worker is not None and self.worker.close()
        if self.worker is not None:
            shutil.rmtree(self.worker.folder, ignore_errors=True)
        if self.kept is not None:
            self.kept.give_back(whole=whole)
        if self.shared is not None and not (keep and whole):
            shutil.rmtree(self.shared, ignore_errors=True)
            self.shared = None
        self.worker, self.kept, self.compiled = None, None, {}

    def _provenance(self) -> dict[str, Any]:
        known: dict[str, Any] = {"versions": self.target.framework.installed()[0]}
        if self.prepared is not None:
            known |= {"weights": self.prepared.weights, "hashes": dict(self.prepared.hashes)}
        if self.hello:
            # also what the exchange files of an executable are written with
            versions = {**self.target.framework.versions, **self.hello["versions"]}
            known |= {"ran": self.hello["ran"], "versions": versions, "revision": self.hello.get("revision")}
        return known

    def _measure(self, cell: Cell, loop: Mapping[str, Any]) -> Record:
        """Outcome, samples and verdict of a cell whose engine is there."""
        entry = self.target.entry(cell.metric)
        self.prepared = self.harness.preparer.prepare(self.harness.workload(self.target), self.target)
        if failure := self.prepared.absent.get(entry):
            raise WorkerFailed(failure.outcome, str(failure))
        peak = reached(self.settings, self.target.backend.device)
        found = self._processes(entry, cell, loop)
        verdict = max((one.verdict for one in found), key=lambda verdict: [*Outcome].index(verdict.outcome))
        golden = self.prepared.golden.get(cell.entry, {})
        extra: dict[str, Any] = {
            "compile_s": found[0].compiled,
            "entry": entry,
            **({"device": str(self.unit)} if self.unit else {}),
            "workload": self.harness.workload(self.target).key(),
            "expanded": dict(self.expanded.get(entry, {})),
            **{name: told for name in ("uncovered", "uneven") if (told := golden.get(name))},
            "footprint_mib": self.target.framework.footprint(self.target.backend),
            **({"found_out": dict(chosen)} if (chosen := self.prepared.found_out) else {}),
            **loop_facts([one.reply for one in found if one.reply]),
        }
        compiled = self.compiled[entry]
        if compiled.get("fallback"):
            extra["fallback"] = compiled["fallback"]
        noise = noisiest(one.noise for one in found)
        told = [*device_flags(cell, compiled), *flags([one.reply for one in found if one.reply], cell.threads)]
        told += ["noisy"] if noise and noise.noisy else []
        measured: dict[str, Any] = {}
        if not self.settings.judges_only:
            measured = {**figures([one.samples for one in found]), **resources(found, peak)}
        told += ["implausible"] if implausible(cell, golden.get("flop"), measured) else []
        return Record.of(
            cell, verdict.outcome, flags=tuple(told), extra=extra, noise=noise, flop=golden.get("flop"),
            verdict=verdict.figures(), reason="" if verdict.outcome is Outcome.PASS else verdict.message,
            **measured,
        )  # fmt: skip

    def _processes(self, entry: str, cell: Cell, loop: Mapping[str, Any]) -> list[Process]:
        """What each process gives. The first may have measured another cell; a wrong one is the last."""
        found: list[Process] = []
        while len(found) < self.settings.processes and all(one.verdict.outcome.right for one in found):
            if found:
                self.close(keep=cell.metric != "compile")
            found.append(self._process(entry, cell, shared(loop, self.settings.processes)))
        return found

    def _process(self, entry: str, cell: Cell, loop: Mapping[str, Any]) -> Process:
        """Compile in this worker, or a fresh one, and measure unless that was to be measured; then judge."""
        reply = self._compiled(entry, fresh=cell.metric == "compile")
        compiled = reply["ns"] * NS
        if cell.metric == "compile":
            seen = {"noise": reply["noise"], "memory": reply["memory"]}
            return Process(compiled, [compiled], self._judged(entry, cell), **seen)
        reply, noise = self._watched(partial(self._ask, "measure", entry=entry, loop=loop))
        samples = [ns * NS for ns in reply["ns"]]
        return Process(compiled, samples, self._judged(entry, cell), {**reply, "loop": loop}, noise, reply["memory"])

    def _compiled(self, entry: str, *, fresh: bool) -> dict[str, Any]:
        """The reply to compiling an entry. A compile cell always gets that of a fresh worker's first entry."""
        if fresh and self.compiled:
            self.close()
        if self.worker is None:
            self._start()
        if entry not in self.compiled:
            ask = partial(self._ask, "compile", entry=entry)
            reply, noise = self._watched(ask, again=0) if fresh else (ask(), None)
            self.compiled[entry] = {**reply, "noise": noise}
            self.hello["ran"] = ran = self.compiled[entry].get("ran") or self.hello.get("ran", "")
            if on_cpu(self.target.backend.device, ran):
                raise WorkerFailed(Outcome.ERROR, f"it was to run on {self.target.backend.device}, and says: {ran}")
        return self.compiled[entry]

    def _watched(self, ask: Callable[[], dict[str, Any]], again: int = AGAIN) -> tuple[dict[str, Any], Noise | None]:
        """What is measured, with the worker's memory meanwhile, and how quiet the machine was."""
        assert self.worker is not None  # noqa: S101 - `_compiled` has started it
        assert self.memory is not None  # noqa: S101
        self.memory.begin()
        if self.settings.calibrates:
            reply, noise = self.harness.calibrations.watch(ask, self.worker.process.pid, again)
        else:
            reply, noise = ask(), None
        on = self.target.backend.device
        return {**reply, "memory": self.memory.peak() if on == "cpu" else f"that of {on} is not counted"}, noise

    def _start(self) -> None:
        """Start a worker and let it load the parameters."""
        assert self.prepared is not None  # noqa: S101 - `_measure` has prepared
        target, self.loaded = self.target, None
        folder = Path(tempfile.mkdtemp(prefix=f"{target.id}-", dir=self.harness.scratch))
        engine, workload = target.framework, self.harness.workload(target)
        if self.settings.judges_only:
            self.kept = Kernels(engine.name, engine.versions.values())
        elif self.settings.processes > 1:
            self.shared = self.shared or Path(tempfile.mkdtemp(prefix="kernels-", dir=self.harness.scratch))
        kept = self.kept.take() if self.kept else self.shared
        limits = Limits.of(workload.parameters, engine.limits, self.settings.limits)
        backend = self.settings.placing.placed(target.backend, self.unit)
        self.worker = start(engine, backend, self.settings.threads, folder, kept, self.settings.passed, limits)
        deadline = self.settings.deadline("hello", target.framework.timeouts)
        self.hello = greet(self.worker, target.backend, self.settings.threads, deadline, self.prepared.exchange)
        self.memory = self.worker.memory()
        if (operators := self.hello.get("operators")) is not None:
            self.prepared = self.harness.preparer.expand(workload, self.prepared, engine.entries, operators)
        self.expanded = self.prepared.expanded
        entries = [entry for entry in target.entries() if entry not in self.prepared.absent]
        self.loaded = self._ask("load", program=str(self.prepared.program), entries=entries)["ns"] * NS

    def _ask(self, request: str, **fields: Any) -> dict[str, Any]:
        assert self.worker is not None  # noqa: S101 - `_compiled` has started it
        deadline = self.settings.deadline(request, self.target.framework.timeouts)
        return self.worker.ask(request, deadline, **fields)

    def _judged(self, entry: str, cell: Cell) -> Verdict:
        """Fetch the tensors of the last step and judge them against golden."""
        assert self.worker is not None  # noqa: S101
        assert self.prepared is not None  # noqa: S101
        file = self.tensors or self.worker.folder / "outputs.safetensors"
        self._ask("outputs", entry=entry, file=str(file))
        try:
            return judged(self.prepared, cell, file)
        finally:
            if file != self.tensors:
                file.unlink(missing_ok=True)
