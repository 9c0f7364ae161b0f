"""The parent's side of preparing: it looks into the cache, or else asks the preparer and sleeps until it is done."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pytest_inferena import system
from pytest_inferena.engines.limits import Limits
from pytest_inferena.files import read_plain
from pytest_inferena.processes.client import WorkerFailed, oom_kills
from pytest_inferena.processes.parts import BASE, PIECES, Folder, Part
from pytest_inferena.processes.preparing import FORKS, Server, Start, once
from pytest_inferena.store.disk import FULL, TOO_LARGE, CacheError, is_full
from pytest_inferena.store.hashes import digest, sha256
from pytest_inferena.store.origins import Origins
from pytest_inferena.worker.capabilities import has
from pytest_inferena.worker.format import Program
from pytest_inferena.worker.strict import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pytest_inferena.collect.target import Target
    from pytest_inferena.engines.framework import Framework
    from pytest_inferena.processes.workload import Workload
    from pytest_inferena.worker.capabilities import Operators

ANSWER = 64 << 20
"""Bytes that the preparer's answer has at most."""


@dataclass(frozen=True)
class Prepared:
    """A workload that a target's worker can run."""

    folder: Path
    """What all engines share: Program, weights, inputs, golden."""
    exchange: Path | None
    weights: str
    """The label of the weights."""
    golden: Mapping[str, Mapping[str, Any]]
    """Entry → `tensors`, the NRMSE of the reference by name, and `none`, the gradients that do not exist."""
    hashes: Mapping[str, str]
    parts: Mapping[str, Part]
    """All that the worker reads, and golden."""
    forget: Callable[[], None]
    """Makes the next `prepare` read and compare all files again."""
    absent: Mapping[str, WorkerFailed] = field(default_factory=dict)
    """Entries that this model does not have, each with what became of it."""
    expanded_folder: Path | None = None
    """The Program in which the operators that the engine lacks are expanded; None if it lacks none."""
    expanded: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Entry → the operators that were expanded, each with its number of nodes."""
    found_out: Mapping[str, Any] = field(default_factory=dict)
    """What was found out about the model, or chosen for it, because nobody said it."""

    @property
    def program(self) -> Path:
        """The folder of the Program that the engine's worker loads."""
        return self.expanded_folder or self.folder

    def golden_file(self, entry: str) -> Path:
        """What is right for an entry."""
        return self.folder / f"golden-{entry}.safetensors"

    def changed(self, entry: str) -> Path | None:
        """The first file that is not what was prepared. Whoever prepares next reads and compares all of them again.

        Golden is read whole for this, and another file if its times say that it has changed.
        """
        golden = self.golden_file(entry)
        changed = next(filter(None, (part.changed() for part in self.parts.values())), None)
        if changed is None and sha256(golden) != self.parts[BASE].manifest["files"][golden.name]["sha256"]:
            changed = golden
        if changed is not None:
            self.forget()
        return changed


class Preparer:
    """Prepares every workload at most once a session. It remembers failures too."""

    def __init__(
        self, threads: int, deadline: float,
        passed: Mapping[str, str] = MappingProxyType({}), limits: Mapping[str, str] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        self.threads, self.deadline, self.passed, self.limits = threads, deadline, passed, limits
        self._folders: dict[Workload, Folder] = {}
        self._failed: dict[tuple[str, str], WorkerFailed] = {}
        self._server: Server | None = None

    def prepare(self, workload: Workload, target: Target) -> Prepared:
        """All parts that a target needs.

        Raises:
            WorkerFailed: with the outcome that its cells get.
        """
        base, folder = self.base(workload), self._folders[workload]
        parts = {BASE: base}
        facts = base.manifest
        absent = {
            entry: WorkerFailed(failed["outcome"], f"prepare: {failed['message']}")
            for entry, failed in facts.get("failed", {}).items()
        }
        if too_big := workload.model.too_big("training", workload.size):
            absent["training"] = WorkerFailed("unsupported", too_big)
        if target.framework.training == "joint":
            if "training" in absent:
                absent["joint"] = absent["training"]
            else:
                request = {"part": "joint", "golden": facts["golden"]["training"]}
                try:
                    parts["joint"] = self._part(folder, "joint", request)
                except WorkerFailed as failure:
                    absent["joint"] = failure
        exchange, expanded = None, {}
        if target.framework.exchange:
            name, adapter = exchange_of(target.framework), target.framework.adapter
            request = {
                "part": "exchange", "part_folder": name,
                "framework": target.framework.name, "adapter": str(adapter), "entries": target.framework.entries,
            }  # fmt: skip
            parts[name] = part = self._part(folder, name, request, adapter.parent)
            exchange, expanded = part.folder, part.manifest["expanded"]
        hashes = hashes_of(base, target.framework)
        place = exchange / "program" if exchange and expanded else None
        given = base.program, exchange, facts["weights"], facts["golden"], hashes, parts, folder.forget
        return Prepared(*given, absent, place, expanded, facts.get("found_out", {}))

    def base(self, workload: Workload) -> Part:
        """What all engines share.

        Raises:
            WorkerFailed: with the outcome that all its cells get.
        """
        return self._part(self._folders.setdefault(workload, Folder(workload)), BASE, {"part": BASE})

    def expand(self, workload: Workload, prepared: Prepared, entries: Sequence[str], operators: Operators) -> Prepared:
        """The same for an engine with these operators. What it lacks is expanded, once for all engines like it.

        Raises:
            WorkerFailed: with the outcome that its cells get.
        """
        program = Program.read(prepared.folder)
        there = [program.entry(name) for name in entries if name not in prepared.absent]
        if all(has(operators, node, entry.specs, trains=entry.trains) for entry in there for node in entry.nodes):
            return prepared
        lacks = json.dumps([operators, entries], sort_keys=True)
        name = f"expanded-{hashlib.sha256(lacks.encode()).hexdigest()[:16]}"
        request = {"part": "expand", "part_folder": name, "operators": operators, "entries": entries}
        part = self._part(self._folders[workload], name, request)
        expanded = part.manifest["expanded"]
        parts = {**prepared.parts, name: part}
        place = part.folder if expanded else None
        return replace(prepared, parts=parts, expanded_folder=place, expanded=expanded)

    def close(self) -> None:
        """End the preparer's process, and let other processes remove from the cache what this one has used."""
        self._end()
        for folder in self._folders.values():
            folder.close()

    def take_notes(self) -> list[str]:
        """News for the user: damaged files that were made again. Each is told once."""
        notes = [note for folder in self._folders.values() for note in folder.notes]
        for folder in self._folders.values():
            folder.notes.clear()
        return notes

    def _part(self, folder: Folder, part: str, request: dict[str, Any], adapter: Path | None = None) -> Part:
        if (failed := self._failed.get((str(folder.path), part))) is not None:
            raise failed
        try:
            with folder.lock():
                return folder.part(part, adapter) or self._make(folder, part, request, adapter)
        except (WorkerFailed, CacheError, OSError, ValueError, LookupError, TypeError) as error:
            broken = not isinstance(error, WorkerFailed | CacheError | OSError)
            error = CacheError(f"the preparer's answer is broken: {error!r}") if broken else error
            error = folder.no_space() if is_full(error) else error
            failure = error if isinstance(error, WorkerFailed) else WorkerFailed("error", f"prepare: {error}")
            self._failed[str(folder.path), part] = failure
            raise failure from error

    def _make(self, folder: Folder, part: str, request: dict[str, Any], adapter: Path | None) -> Part:
        folder.require_space()
        base = folder.part(BASE, whole=False)
        with folder.making() as made:
            workload = folder.workload
            whole = {
                **request, "folder": str(made), "program": str(base.program if base else made),
                "name": workload.model.name,
                "source": str(workload.model.source), "size": workload.size, "weights": workload.weights,
                "batch": workload.batch, "seq": workload.seq, "inputs": workload.inputs,
                "path": sys.path, "left": [str(left) for left in folder.left],
            }  # fmt: skip
            facts = self._run(folder, made, whole)
            folder.publish(part, made, facts, Origins.from_json(facts))
        found = folder.part(part, adapter)
        if found is None:
            raise CacheError(f"{folder.path} changed while it was written; run again")
        return found

    def _run(self, folder: Folder, made: Path, request: dict[str, Any]) -> dict[str, Any]:
        file, log, killed = made / "request.json", made / "log", oom_kills()
        limits = Limits.of(folder.workload.parameters, self.limits)
        file.write_text(json.dumps({**request, "largest": limits.file}))
        try:
            status = self._status(file, limits)
        except TimeoutError:
            remedy = "--inferena-timeout=prepare=SECONDS gives it longer"
            raise WorkerFailed("timeout", f"prepare: not done in {self.deadline:g} s; {remedy}") from None
        if status == FULL:
            raise folder.no_space()
        if status == TOO_LARGE and limits.file is not None:
            raise folder.too_large(limits.file)
        if (error := made / "error.json").exists():
            document = parse(read_plain(error, ANSWER))
            raise WorkerFailed(document["outcome"], f"prepare: {document['message']}")
        if status != 0 or not (made / "facts.json").exists():
            raise _died(status, oom=oom_kills() > killed, tail=_end_of(log))
        facts: dict[str, Any] = parse(read_plain(made / "facts.json", ANSWER))
        for file in (*map(made.joinpath, ("request.json", "log", "facts.json")), *made.glob(PIECES)):
            file.unlink()
        return facts

    def _status(self, file: Path, limits: Limits) -> int:
        """Have a request answered. Returns the exit status of the process that did it."""
        start = Start.now(self.threads, self.passed)
        if not FORKS:
            return once(start, file, self.deadline, limits)
        if self._server is None or not self._server.serves(start):
            self._end()
            self._server = Server(start)
        return self._server.run(file, self.deadline, limits)

    def _end(self) -> None:
        """End the preparer's process, if there is one; the next request starts another."""
        if self._server is not None:
            self._server.close()
            self._server = None


def _died(status: int, *, oom: bool, tail: str) -> WorkerFailed:
    """How the preparer ended without an answer."""
    kind, words = system.ending(status)
    if kind == "oom" or (kind == "killed" and oom):
        return WorkerFailed("oom", "prepare: the kernel ended the preparer: out of memory")
    was = "was " if words.startswith("killed") else ""
    return WorkerFailed("crash", f"prepare: the preparer {was}{words}: {tail}")


def _end_of(log: Path) -> str:
    """The last words of a log, however long it is."""
    with log.open("rb") as file:
        file.seek(-min(4096, log.stat().st_size), os.SEEK_END)
        return file.read().decode(errors="replace").strip()[-600:]


def exchange_of(framework: Framework) -> str:
    """The name of the part that holds an engine's files."""
    return f"exchange-{framework.name}"


def still_made_of(workload: Workload, target: Target, hashes: Mapping[str, str | None]) -> bool:
    """Whether a target would be given the same files today.

    Args:
        workload: what it ran.
        target: the engine that ran it.
        hashes: those of its record: of Program, weights, inputs and adapter.
    """
    folder, engine = Folder(workload), target.framework
    base = folder.part(BASE, whole=False)
    if base is None or hashes_of(base, engine) != hashes:
        return False
    return not engine.exchange or bool(folder.part(exchange_of(engine), engine.adapter.parent, whole=False))


def hashes_of(base: Part, framework: Framework) -> dict[str, str]:
    """SHA-256 of the Program, the weights and the inputs, which all engines share, and of the adapter."""
    files = base.manifest["files"]

    def of(*endings: str) -> str:
        chosen = sorted((name, kept["sha256"]) for name, kept in files.items() if name.endswith(endings))
        return hashlib.sha256(json.dumps(chosen).encode()).hexdigest()

    return {
        "program": of(".json", ".constants.safetensors"),
        "weights": files["weights.safetensors"]["sha256"],
        "inputs": of(".inputs.safetensors"),
        "adapter": digest(framework.sources),
    }
