"""The parent's side of preparing: ask the cache, else start the preparer and wait for it, asleep."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferena.cache import CacheError, Folder, Workload, digest
from pytest_inferena.worker.client import THREADS, WorkerFailed, affinity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_inferena.cell import Target

PARENT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Prepared:
    """A workload ready to be run by a target's worker."""

    program: Path
    exchange: Path | None
    weights: str
    """Label of the weights that were used."""
    golden: Mapping[str, Mapping[str, Any]]
    """By entry: `tensors`, name → NRMSE of the reference, and `none`, gradients that do not exist."""
    hashes: Mapping[str, str]


class Preparer:
    """Prepares every workload at most once a session; failures are remembered too."""

    def __init__(self, threads: int, deadline: float) -> None:
        self.threads, self.deadline = threads, deadline
        self._folders: dict[Workload, Folder] = {}
        self._failed: dict[tuple[str, str], WorkerFailed] = {}

    def prepare(self, workload: Workload, target: Target) -> Prepared:
        """All parts that a target needs.

        Raises:
            WorkerFailed: with the outcome that its cells get.
        """
        folder = self._folders.setdefault(workload, Folder(workload))
        facts = self._part(folder, "base", {"part": "base"})
        parts = [facts]
        if target.framework.training == "joint":
            parts.append(self._part(folder, "joint", {"part": "joint"}))
        exchange = None
        if target.framework.exchange:
            name = f"exchange-{target.framework.name}-{digest([target.framework.folder])}"
            request = {
                "part": "exchange", "part_folder": name,
                "framework": target.framework.name, "adapter": str(target.framework.adapter),
            }  # fmt: skip
            self._part(folder, name, request)
            exchange = folder.path / name
        files = {name: kept["sha256"] for part in parts for name, kept in part["files"].items()}
        hashes = _hashes(files) | {"adapter": digest([target.framework.folder])}
        return Prepared(folder.path, exchange, facts["weights"], facts["golden"], hashes)

    def _part(self, folder: Folder, part: str, request: dict[str, Any]) -> dict[str, Any]:
        if (failed := self._failed.get((str(folder.path), part))) is not None:
            raise failed
        try:
            with folder.lock():
                return folder.manifest(part) or self._make(folder, part, request)
        except (WorkerFailed, CacheError, OSError) as error:
            failure = error if isinstance(error, WorkerFailed) else WorkerFailed("error", f"prepare: {error}")
            self._failed[str(folder.path), part] = failure
            raise failure from error

    def _make(self, folder: Folder, part: str, request: dict[str, Any]) -> dict[str, Any]:
        folder.require_space()
        with tempfile.TemporaryDirectory(prefix="making-", dir=folder.path.parent) as made:
            workload = folder.workload
            whole = {
                **request, "folder": made, "program": str(folder.path), "name": workload.model.name,
                "source": str(workload.model.source), "size": workload.size, "weights": workload.weights,
            }  # fmt: skip
            facts = self._run(Path(made), whole)
            sources = map(Path, facts.pop("sources"))
            folder.publish(part, Path(made), facts, sources)
        manifest = folder.manifest(part)
        if manifest is None:
            raise CacheError(f"{folder.path} changed while it was written; run again")
        return manifest

    def _run(self, made: Path, request: dict[str, Any]) -> dict[str, Any]:
        file, log = made / "request.json", made / "log"
        file.write_text(json.dumps(request))
        environment = os.environ | dict.fromkeys(THREADS, str(self.threads)) | {"PYTHONPATH": _path()}
        command = [sys.executable, "-m", "pytest_inferena.preparer", str(file)]
        with log.open("wb") as output, affinity(self.threads):
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment)
        try:
            status = process.wait(self.deadline)
        except subprocess.TimeoutExpired:
            remedy = "--inferena-timeout=prepare=SECONDS gives it longer"
            raise WorkerFailed("timeout", f"prepare: not done in {self.deadline:g} s; {remedy}") from None
        finally:
            process.kill()
            process.wait()
        tail = log.read_text(errors="replace")[-1500:]
        if (error := made / "error.json").exists():
            document = json.loads(error.read_text())
            raise WorkerFailed(document["outcome"], f"prepare: {document['message']}")
        if status != 0 or not (made / "facts.json").exists():
            raise WorkerFailed("error", f"prepare: the preparer ended with status {status}: {tail.strip()[-600:]}")
        facts: dict[str, Any] = json.loads((made / "facts.json").read_text())
        for name in ("request.json", "log", "facts.json"):
            (made / name).unlink()
        return facts


def _path() -> str:
    """PYTHONPATH of the preparer: where this package lies, then what was there."""
    return os.pathsep.join(filter(None, [str(PARENT), os.environ.get("PYTHONPATH")]))


def _hashes(files: Mapping[str, str]) -> dict[str, str]:
    """SHA-256 of the Program, the weights and the inputs, from those of their files."""
    import hashlib

    def of(*endings: str) -> str:
        chosen = sorted((name, sha) for name, sha in files.items() if name.endswith(endings))
        return hashlib.sha256(json.dumps(chosen).encode()).hexdigest()

    return {
        "program": of(".json", ".constants.safetensors"),
        "weights": files["weights.safetensors"],
        "inputs": of(".inputs.safetensors"),
    }
