"""The preparer: a process of its own, with torch. It turns a model into the files that all others read.

    python -m pytest_inferena.prepare REQUEST.json

Without the argument it takes requests from a pipe, as `pytest_inferena.prepare.forks` says. A request names the model's
source, the size, the weights, the part to make, the folder to fill, and the `sys.path` of who asks: a model's file can
import what tests can. The answer is `facts.json` in that folder, or one line in `error.json`. Exit status 28 says that
the disk is full, 27 that a file is over its limit.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gc
import importlib
import importlib.metadata
import json
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file

from pytest_inferena.collect.model import Model
from pytest_inferena.collect.source import Source
from pytest_inferena.prepare.attempts import Attempts, failure
from pytest_inferena.prepare.complete import found_out
from pytest_inferena.prepare.dtypes import refuse_others
from pytest_inferena.prepare.entries import custom_operators, entries, write_entry
from pytest_inferena.prepare.forks import serve
from pytest_inferena.prepare.imported import Imported
from pytest_inferena.prepare.pieces import Pieces
from pytest_inferena.prepare.proof import Proof
from pytest_inferena.prepare.reference import ENTRIES, Runs, write_golden
from pytest_inferena.prepare.sources import load_case
from pytest_inferena.prepare.structure import to_eval
from pytest_inferena.prepare.uncovered import uncovered
from pytest_inferena.prepare.weights import WeightsUnavailable, resolve_weights
from pytest_inferena.program.graph import NotExportable
from pytest_inferena.program.joint import joint
from pytest_inferena.program.names import parameters_of
from pytest_inferena.store.disk import FULL, TOO_LARGE, is_full, is_too_large
from pytest_inferena.verdict.tensors import GoldenFile
from pytest_inferena.worker.custom import register
from pytest_inferena.worker.format import Program, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_inferena.prepare.case import Case


def main(made_by: Imported, request_file: str) -> int:
    """Answer one request. The exit status is 0 also when the answer is an error."""
    request = json.loads(Path(request_file).read_text())
    limited = _limit(request.get("largest"))
    sys.path += [place for place in request.get("path", ()) if place and place not in sys.path]
    folder = Path(request["folder"])
    made_by.adapter = Path(request["adapter"]).parent if "adapter" in request else None
    try:
        facts = PARTS[request["part"]](folder, request, made_by)
        facts |= made_by.origins(distributions(request)).to_json()
        (folder / "facts.json").write_text(json.dumps(facts))
    except WeightsUnavailable as error:
        _fail(folder, "unsupported", str(error))
    except Exception as error:  # noqa: BLE001 - a model's code may raise anything; all of it is reported
        if is_full(error):
            return TOO_LARGE if limited and is_too_large(error) else FULL
        traceback.print_exc()
        outcome, message = failure(error)
        without = request["part"] == "joint" and isinstance(error, NotExportable)  # the model runs all the same
        _fail(folder, "unsupported" if without else outcome, message)
    return 0


def _fail(folder: Path, outcome: str, message: str) -> None:
    (folder / "error.json").write_text(json.dumps({"outcome": outcome, "message": message[:2000]}))


def base(folder: Path, request: Mapping[str, Any], made_by: Imported) -> dict[str, Any]:
    """Program with the entries inference, latency and training, weights, inputs, golden."""
    case, label = _case(request)
    refuse_others(case)
    parameters = parameters_of(case.module)
    specs = {
        name: TensorSpec(name, tuple(p.shape), str(p.dtype).removeprefix("torch.")) for name, p in parameters.items()
    }
    trainable = frozenset(name for name, parameter in parameters.items() if parameter.requires_grad)
    save_file({name: p.detach().contiguous() for name, p in parameters.items()}, folder / "weights.safetensors")
    attempts, golden = Attempts(), {}
    made = entries(case, attempts)
    for entry, (graph, inputs) in made.items():
        write_entry(folder, entry, graph, inputs)
    custom = custom_operators([graph for graph, _ in made.values()], request)
    program = Program(folder, request["name"], specs, trainable, custom)
    program.write()
    model, size = _model(request), request["size"]
    pieces = Pieces(folder, request["left"], lambda: made_by.origins(distributions(request)))
    runs, proof, rights = Runs(case, apart=attempts.apart), Proof(parameters), {}
    for entry in ENTRIES:
        if entry in attempts.failed or model.too_big(entry, size):
            continue
        with attempts.at(entry):
            facts = pieces.keep(f"golden-{entry}", functools.partial(write_golden, case, entry, folder, runs))
            right = GoldenFile(folder / f"golden-{entry}.safetensors", facts["none"])
            part = program.entry("inference") if entry == "training" and "inference" in made else None
            proof.prove(program.entry(entry), right, facts, made[entry][0], part)
            golden[entry], rights[entry] = facts, right
    attempts.require_one(ENTRIES)
    names = uncovered(case, golden, rights)
    golden = {entry: {**facts, "uncovered": names, "flop": proof.flop.get(entry)} for entry, facts in golden.items()}
    for entry in attempts.failed:  # an entry without golden could be run and not be judged
        for file in (*folder.glob(f"{entry}.*"), *folder.glob(f"golden-{entry}.*")):
            file.unlink()
    return {
        "weights": label,
        "found_out": found_out(case, model, usual=request.get("batch") is request.get("seq") is None),
        "golden": golden,
        "failed": attempts.failed,
        "threads": torch.get_num_threads(),
        "torch": importlib.metadata.version("torch"),
    }


def joint_entry(folder: Path, request: Mapping[str, Any], _: Imported) -> dict[str, Any]:
    """The training entry as one graph of forward and backward."""
    program = Program.read(Path(request["program"]))
    register(program)
    training = program.entry("training")
    parameters = {
        name: torch.nn.Parameter(torch.empty(spec.shape, dtype=getattr(torch, spec.dtype)), name in program.trainable)
        for name, spec in program.parameters.items()
    }  # values do not matter to a graph
    inputs = {name: torch.from_numpy(array) for name, array in training.arrays("inputs").items()}
    inputs = {spec.name: inputs[spec.name] for spec in training.inputs}
    graph = joint(training, parameters, inputs)
    write_entry(folder, "joint", graph, inputs)
    right = GoldenFile(program.folder / "golden-training.safetensors", request["golden"]["none"])
    entry = dataclasses.replace(program, folder=folder).entry("joint")
    Proof(load_file(program.folder / "weights.safetensors")).prove(entry, right, request["golden"], graph)
    return {}


def exchange(folder: Path, request: Mapping[str, Any], _: Imported) -> dict[str, Any]:
    """An engine's own files, made by its adapter."""
    from pytest_inferena.prepare.expanded import write_expanded
    from pytest_inferena.worker.loading import load_adapter

    kind = load_adapter(request["framework"], Path(request["adapter"])).Adapter
    program, target = Program.read(Path(request["program"])), folder / request["part_folder"]
    target.mkdir()
    found: Mapping[str, Any] = {}
    if kind.operators is not None:
        found = write_expanded(program, kind.operators, request["entries"], target / "program")
    kind.prepare(Program.read(target / "program") if found else program, target)
    return {"expanded": found}


def expand(folder: Path, request: Mapping[str, Any], _: Imported) -> dict[str, Any]:
    """The Program for an engine that lacks some of its operators."""
    from pytest_inferena.prepare.expanded import write_expanded

    program, target = Program.read(Path(request["program"])), folder / request["part_folder"]
    return {"expanded": write_expanded(program, request["operators"], request["entries"], target)}


PARTS = {"base": base, "joint": joint_entry, "exchange": exchange, "expand": expand}


def distributions(request: Mapping[str, Any]) -> tuple[str, ...]:
    """The distributions that a checkpoint is read from, although they are not imported."""
    return _model(request).packages if request.get("weights") == "package" else ()


def _model(request: Mapping[str, Any]) -> Model:
    return Model.of(Source.parse(request["source"], None))


def _case(request: Mapping[str, Any]) -> tuple[Case, str]:
    gc.disable()  # importing makes hardly any garbage, and what was imported stays:
    shape = {name: request[name] for name in ("batch", "seq", "inputs") if name in request}
    case = load_case(Source.parse(request["source"], None), request["size"], **shape)
    label = resolve_weights(case, request["weights"])
    to_eval(case.module)
    gc.freeze()  # looking for garbage in it takes a sixth of a capture
    gc.enable()
    return case, label


def _limit(largest: int | None) -> bool:
    """Limit the bytes of a file that this process writes, to a model's own limit; False where that is lower already."""
    if sys.platform != "linux" or largest is None:
        return False
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    if most != resource.RLIM_INFINITY and most < largest:
        return False
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    return True


if __name__ == "__main__":
    if sys.argv[1:]:
        raise SystemExit(main(Imported(), sys.argv[1]))
    with contextlib.suppress(ImportError):  # no name for others to rely on
        importlib.import_module("torch.export._trace")  # half of all that there is to import, at the first export
    raise SystemExit(serve(functools.partial(main, Imported())))
