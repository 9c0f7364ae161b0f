"""Explain one cell: `python -m pytest_inferena.explain REQUEST`, a line of JSON that `inferena explain` writes."""

from __future__ import annotations

import json
import math
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pytest_inferena.cell import ENTRIES, Outcome
from pytest_inferena.collect.model import Model
from pytest_inferena.collect.settings import DEADLINES
from pytest_inferena.collect.source import Source
from pytest_inferena.collect.target import Target
from pytest_inferena.engines.framework import Framework
from pytest_inferena.explain.engine import Engine
from pytest_inferena.explain.look import look
from pytest_inferena.explain.pieces import Cutter, Piece
from pytest_inferena.explain.reference import computed
from pytest_inferena.explain.report import Report
from pytest_inferena.explain.story import Story
from pytest_inferena.processes.client import WorkerFailed
from pytest_inferena.processes.preparer import Preparer
from pytest_inferena.processes.workload import Workload
from pytest_inferena.store import cache
from pytest_inferena.verdict.gate import Verdict, judge
from pytest_inferena.verdict.scale import FLOORS
from pytest_inferena.verdict.tensors import GoldenFile
from pytest_inferena.worker.format import Program
from pytest_inferena.worker.server import Weights

if TYPE_CHECKING:
    from pytest_inferena.engines.framework import Backend
    from pytest_inferena.explain.story import Found
    from pytest_inferena.processes.preparer import Prepared
    from pytest_inferena.verdict.tensors import Array


@dataclass(frozen=True)
class Request:
    """What is to be explained."""

    target: Target
    metric: str
    workload: Workload
    threads: int
    output: Path

    @classmethod
    def read(cls, document: dict[str, Any], framework: Framework, backend: Backend) -> Request:
        """Read its JSON."""
        model = Model.of(Source.parse(document["model"], None))
        shape = {name: document[name] for name in ("batch", "seq", "inputs") if name in document}
        workload = Workload(model, document["size"], document["weights"], **shape)
        target = Target(model, framework, backend, **shape)
        return cls(target, document["metric"], workload, document["threads"], Path(document["output"]))

    @property
    def cell(self) -> str:
        """Its name."""
        return f"{self.target.id}-{self.metric}"


def main(text: str) -> int:
    """Explain a cell. Returns 0 where there is an answer, 1 where there cannot be one."""
    document = json.loads(text)
    sys.path += [place for place in document["path"] if place and place not in sys.path]
    framework = Framework.read(Path(document["adapter"]))
    backend = next(one for one in framework.backends if one.name == document["backend"])
    cache.root().mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="explain-", dir=cache.root()))  # beside the weights, which are linked
    torch.set_num_threads(document["threads"])
    engine = Engine(framework, backend, document["threads"], scratch)
    try:
        if "piece" in document:
            return again(Path(document["piece"]), document, engine)
        return explain(Request.read(document, framework, backend), engine)
    except WorkerFailed as failure:
        print(f"inferena: {document['name']}: {failure}", file=sys.stderr)
        return 1
    finally:
        engine.close()
        shutil.rmtree(scratch, ignore_errors=True)


def again(folder: Path, document: dict[str, Any], engine: Engine) -> int:
    """Run what an earlier search has left once more, and say how far it is off."""
    program = Program.read(folder / "program")
    entry = program.entry(document["entry"])
    weights = Weights(program.folder / "weights.safetensors")
    seen = look(Piece(entry, weights, frozenset(document["trainable"])), engine)
    print(f"{engine.framework.title} ({engine.backend.name}), {', '.join(sorted(entry.operators()))}: {seen}")
    return 0


def explain(request: Request, engine: Engine) -> int:
    """The whole entry on the engine; where it is wrong, the search, and the report."""
    if reason := request.target.absent(request.metric) or request.target.framework.missing(request.target.backend):
        raise WorkerFailed(Outcome.UNSUPPORTED, reason)
    prepared = _prepared(request, engine)
    program = Program.read(prepared.program)
    entry = program.entry(request.target.entry(request.metric))
    cutter = Cutter(entry, Weights(program.folder / "weights.safetensors"), program)
    verdict, broke = _verdict(request, engine, prepared, cutter.whole())
    if verdict is not None and verdict.outcome is Outcome.PASS:
        print(f"{request.cell} PASSes: {verdict.message}; there is nothing to explain")
        return 0
    said = f"{verdict.outcome.upper()}: {verdict.message}" if verdict else broke
    print(f"{request.cell} {said}")
    found = _search(cutter, engine, verdict)
    report = Report(request.cell, request.target, request.workload, cutter, engine, said, found)
    print(report.write(request.output))
    return 0


def _search(cutter: Cutter, engine: Engine, verdict: Verdict | None) -> Found:
    """Look behind the worst tensor; behind a gradient that the engine derives, where the loss is right."""
    entry = cutter.entry
    first = next(iter(entry.outputs.values()))
    start = entry.outputs.get(verdict.tensor or "", first) if verdict else first
    error = verdict.nrmse if verdict and verdict.nrmse is not None else math.inf
    backward = False
    if entry.name == "training" and verdict and (verdict.tensor or "").startswith("grad:"):
        backward = look(cutter.upto([first], trains=False), engine).excess(FLOORS["float32"]["loss"]) <= 1
    story = Story(cutter, engine, lambda line: print(f"  {line}", flush=True), trains=backward)
    return story.find(start, error)


def _prepared(request: Request, engine: Engine) -> Prepared:
    """The Program that the engine runs.

    Raises:
        WorkerFailed: there is none.
    """
    preparer = Preparer(request.threads, DEADLINES["prepare"])
    prepared = preparer.prepare(request.workload, request.target)
    if failure := prepared.absent.get(request.target.entry(request.metric)):
        raise failure
    operators = engine.greet().get("operators")
    if operators is None:
        return prepared
    return preparer.expand(request.workload, prepared, request.target.framework.entries, operators)


def _verdict(request: Request, engine: Engine, prepared: Prepared, whole: Piece) -> tuple[Verdict | None, str]:
    """What the gate says of the engine, or how it broke.

    Raises:
        WorkerFailed: the engine lacks something; or the Program itself is wrong, and no engine is to blame.
    """
    entry = ENTRIES[request.metric]
    facts = prepared.golden[entry]
    golden = GoldenFile(prepared.folder / f"golden-{entry}.safetensors", facts["none"])
    ours = judge(golden, facts["tensors"], _single(computed(whole, torch.float64)))
    if ours.outcome is not Outcome.PASS:
        said = f"the Program differs from the module even in float64, which no engine can mend: {ours.message}"
        raise WorkerFailed(Outcome.ERROR, said)
    try:
        return judge(golden, facts["tensors"], engine.run(whole)), ""
    except WorkerFailed as failure:
        if failure.outcome is Outcome.UNSUPPORTED:
            raise
        return None, f"{failure.outcome.upper()}: {failure}"


def _single(tensors: dict[str, Array]) -> dict[str, Array]:
    return {name: value.astype("float32") if value.dtype == "float64" else value for name, value in tensors.items()}


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
