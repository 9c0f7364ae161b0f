"""Which operators engines have, and what of a model stands in the way where: what `inferena operators` prints.

`python -m pytest_inferena.explain.operators REQUEST`, a line of JSON, for that needs PyTorch.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

from pytest_inferena.collect.model import Model
from pytest_inferena.collect.settings import DEADLINES
from pytest_inferena.collect.source import Source
from pytest_inferena.collect.target import Target
from pytest_inferena.engines.framework import Framework
from pytest_inferena.processes.client import WorkerFailed
from pytest_inferena.processes.preparer import Preparer
from pytest_inferena.processes.workload import Workload
from pytest_inferena.program.expand import EXPANSIONS
from pytest_inferena.program.operators import OPERATORS
from pytest_inferena.session.starting import greet, start
from pytest_inferena.worker.capabilities import require
from pytest_inferena.worker.format import Program, Unsupported
from pytest_inferena.worker.loading import load_adapter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_inferena.engines.framework import Backend
    from pytest_inferena.processes.preparer import Prepared
    from pytest_inferena.worker.capabilities import Operators

HAS, LIMITED, EXPANDED, LACKS = "✓", "(✓)", "○", "—"
LEGEND = f"{HAS} its own, {LIMITED} its own under conditions, {EXPANDED} expanded for it, {LACKS} missing"


def said(framework: Framework, backend: Backend) -> Operators | None:
    """What an engine that is installed says that it has; None if it says nothing.

    Raises:
        WorkerFailed: it does not start.
    """
    if framework.exchange:
        operators: Operators | None = load_adapter(framework.name, framework.adapter).Adapter.operators
        return operators
    with tempfile.TemporaryDirectory() as folder:
        worker = start(framework, backend, 1, Path(folder) / "worker")
        try:
            deadline = framework.timeouts.get("hello", DEADLINES["hello"])
            return greet(worker, backend, 1, deadline).get("operators")
        finally:
            worker.close()


def mark(name: str, operators: Operators) -> str:
    """How an engine comes to an operator."""
    if name in operators:
        return LIMITED if operators[name] else HAS
    return EXPANDED if name in EXPANSIONS else LACKS


def table(engines: Mapping[str, Operators], style: str) -> str:
    """Operator × engine, with a mark for each.

    Args:
        engines: what each has, by name.
        style: a format of tabulate's.
    """
    rows = [[name, *(mark(name, operators) for operators in engines.values())] for name in OPERATORS]
    made: str = tabulate(rows, headers=["operator", *engines], tablefmt=style)
    return made


def of_model(target: Target, workload: Workload, preparer: Preparer, operators: Operators | None) -> Iterator[str]:
    """A line for inference and one for training: what an engine runs of a model.

    Args:
        target: the model and the engine.
        workload: the model's.
        preparer: prepares it.
        operators: what the engine has; None: it does not say.
    """
    try:
        prepared = preparer.prepare(workload, target)
        if operators is not None and not target.framework.exchange:
            prepared = preparer.expand(workload, prepared, target.framework.entries, operators)
    except WorkerFailed as failure:
        yield str(failure)
        return
    for metric in ("inference", "training"):
        yield f"{metric}: {target.absent(metric) or _entry(prepared, target.entry(metric), operators)}"


def _entry(prepared: Prepared, entry: str, operators: Operators | None) -> str:
    if entry in prepared.absent:
        return str(prepared.absent[entry])
    program = Program.read(prepared.program)
    if prepared.exchange is not None and (refused := prepared.exchange / f"{entry}.unsupported").exists():
        return refused.read_text(encoding="utf-8")
    if operators is None:
        return "it takes PyTorch's own operators, or whole architectures; a run tells"
    try:
        require(operators, program.entry(entry))
    except Unsupported as error:
        return str(error)
    counts = prepared.expanded.get(entry, {})
    told = ", ".join(f"{name} {count}" for name, count in counts.items())
    return f"expanded for it, nodes of each: {told}" if told else "it has all operators itself"


def main(text: str) -> int:
    """Print the table of all engines, or what each runs of a model. Returns 1 where the model cannot be prepared."""
    request: dict[str, Any] = json.loads(text)
    sys.path += [place for place in request["path"] if place and place not in sys.path]
    found: dict[str, Operators] = {}
    preparer = Preparer(request["threads"], DEADLINES["prepare"])
    workload = None
    try:
        if request["model"]:
            model = Model.of(Source.parse(request["model"], None))
            workload = Workload(model, request["size"], request["weights"])
            preparer.base(workload)
        for folder, name in request["engines"]:
            framework = Framework.read(Path(folder))
            backend = next(one for one in framework.backends if one.name == name)
            try:
                operators = said(framework, backend)
            except WorkerFailed as failure:
                print(f"{framework.title}: {failure}", file=sys.stderr)
                continue
            if workload:
                target = Target(workload.model, framework, backend)
                print("\n  ".join([framework.title, *of_model(target, workload, preparer, operators)]), flush=True)
            elif operators is not None:
                found[framework.name] = operators
    except WorkerFailed as failure:
        print(f"inferena: {request['model']}: {failure}", file=sys.stderr)
        return 1
    finally:
        preparer.close()
    if not workload:
        print(f"{table(found, 'simple')}\n\n{LEGEND}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
