"""A case that is prepared in the test's own process, and judged as PyTorch runs its Program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file

from pytest_inferena.prepare import __main__ as preparer
from pytest_inferena.prepare.imported import Imported
from pytest_inferena.verdict.gate import judge
from pytest_inferena.verdict.tensors import GoldenFile
from pytest_inferena.worker.aten import to_module
from pytest_inferena.worker.format import Program

if TYPE_CHECKING:
    import pytest

    from pytest_inferena import Case

SOURCE = Path(__file__).parent / "project" / "mlp.py"


class Made:
    """What became of a case."""

    def __init__(self, case: Case, folder: Path, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(preparer, "load_case", lambda *_: case)
        self.request = {
            "part": "base",
            "folder": str(folder),
            "source": str(SOURCE),
            "size": "tiny",
            "name": "case",
            "left": [],
        }
        self.folder, self.imported = folder, Imported()
        self.facts: dict[str, Any] = preparer.base(folder, {**self.request, "weights": "seeded"}, self.imported)
        self.failed = {entry: failed["message"] for entry, failed in self.facts["failed"].items()}
        self.program = Program.read(folder)

    def joint(self) -> None:
        """Make the entry `joint` too."""
        preparer.joint_entry(
            self.folder,
            {**self.request, "program": str(self.folder), "golden": self.facts["golden"]["training"]},
            self.imported,
        )

    def outputs(self, entry: str = "inference") -> list[str]:
        """The names of what golden has."""
        return list(self.facts["golden"][entry]["tensors"])

    def verdict(self, name: str) -> str:
        """That of PyTorch on one entry."""
        entry, of = self.program.entry(name), "training" if name == "joint" else name
        weights = load_file(self.folder / "weights.safetensors")
        parameters = {key: torch.nn.Parameter(w, key in self.program.trainable) for key, w in weights.items()}
        inputs = [torch.from_numpy(entry.arrays("inputs")[spec.name]) for spec in entry.inputs]
        results = to_module(entry, parameters)(*inputs)
        found = dict(zip(entry.outputs, results, strict=True))
        if name == "training":
            trained = [key for key in entry.parameters if parameters[key].requires_grad]
            gradients = torch.autograd.grad(results[0], [parameters[key] for key in trained])
            found |= {f"grad:{key}": gradient for key, gradient in zip(trained, gradients, strict=True)}
        facts = self.facts["golden"][of]
        golden = GoldenFile(self.folder / f"golden-{of}.safetensors", facts["none"])
        verdict = judge(golden, facts["tensors"], {key: x.numpy(force=True) for key, x in found.items()})
        return "pass" if verdict.outcome == "pass" else verdict.message

    def verdicts(self) -> dict[str, str]:
        """Those of all entries that there are, `joint` too."""
        if "training" in self.facts["golden"]:
            self.joint()
        there = [
            name for name in ("inference", "latency", "training", "joint") if (self.folder / f"{name}.json").exists()
        ]
        return {name: self.verdict(name) for name in there}

    def tensor_names(self, entry: str) -> list[str]:
        """Every tensor of an entry once for each that has the name."""
        document = json.loads((self.folder / f"{entry}.json").read_text())
        named = [spec["name"] for spec in [*document["inputs"], *document["constants"]]]
        made = [spec["name"] for node in document["nodes"] for spec in node["out"]]
        return [*named, *document["parameters"], *made]
