"""What is left of a search: a folder with the smallest Program, a script and a text for the engine's tracker."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.numpy import load_file

from pytest_inferena import machine
from pytest_inferena.explain.lines import line_of, lines
from pytest_inferena.explain.reference import computed
from pytest_inferena.explain.script import script
from pytest_inferena.worker.format import Program, Ref

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_inferena.collect.target import Target
    from pytest_inferena.explain.engine import Engine
    from pytest_inferena.explain.look import Seen
    from pytest_inferena.explain.pieces import Cutter, Piece
    from pytest_inferena.explain.story import Found
    from pytest_inferena.processes.workload import Workload
    from pytest_inferena.worker.format import Node

FEATURES = re.compile(r"\b(?:sse4_2|avx\w*|fma|f16c|amx\w*|neon|asimd\w*|sve\w*)\b")
SCRIPT = "run.py"
MINUTE = 60


@dataclass(frozen=True)
class Report:
    """All that is told."""

    cell: str
    target: Target
    workload: Workload
    cutter: Cutter
    engine: Engine
    said: str
    """What the gate, or the worker's end, says of the cell."""
    found: Found

    def write(self, folder: Path) -> str:
        """Fill the folder; the text for the terminal."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        showing = self._minimal(self.found.piece, folder) if self.found.piece and self.found.alone else ""
        text = "\n".join(self._told())
        code = (folder / SCRIPT).read_text(encoding="utf-8") if (folder / SCRIPT).exists() else ""
        shown = f"```python\n{code}```\n\n```\n{showing}\n```" if code else showing
        (folder / "issue.md").write_text(self._issue(text, shown or "See above."), encoding="utf-8")
        return f"\n{text}\n\n{showing}\nwritten: {folder}/issue.md\n".replace("\n\n\n", "\n\n")

    def _told(self) -> Iterator[str]:
        """The finding, a sentence a line."""
        found, title = self.found, self._title()
        if found.after is None and found.alone is None and found.kind != "whole":
            yield f"{title} runs no part of this model, neither up to an operator nor an operator alone."
            yield f"What is known is what the whole gives: {self.said}"
            return
        known = lines(self.workload, self.cutter.entry.name)
        yield f"{title} leaves the reference at {_spelled(found.node, self.cutter)}."
        if line := line_of(found.node.name, known):
            yield f"It comes from {line}"
        if found.after is not None:
            yield f"Error of what it is given: {found.before or 'none, it is the first'}."
            yield f"Error of what it makes:    {found.after}."
        yield from self._blame(known)

    def _blame(self, known: Any) -> Iterator[str]:
        found, alone = self.found, self.found.alone
        whose = "gradient" if alone and alone.tensor.startswith("grad:") else "result"
        if found.kind == "makes":
            yield f"It makes the error itself: from exact inputs its {whose} has {alone}."
        elif found.kind == "together":
            names = " → ".join(f"{node.name} ({node.operator})" for node in found.nodes)
            yield f"Alone it is right. Run in one go with what is before it, it is not: {names}: {alone}."
            yield "So the engine makes the error where it fuses or rewrites these operators."
        elif found.kind == "elsewhere":
            yield "From exact inputs it is as good as PyTorch: it passes on, and perhaps amplifies, what it was given."
            yield f"Of those before it, run alone, the worst is {_spelled(found.nodes[0], self.cutter)}: {alone}."
            if line := line_of(found.nodes[0].name, known):
                yield f"It comes from {line}"
        elif found.kind == "adds up":
            yield "No operator before it is worse than PyTorch's when it is run alone from exact inputs:"
            yield "small errors add up here, or the engine makes them where it runs many operators in one go."
        elif found.kind == "whole":
            yield "No part of the model shows the error, up to whichever operator it is run. Only the whole does."
        if found.observed is not None:
            still = "is still there" if found.observed else "goes away"
            yield f"When the whole model is run and also returns this tensor, the error {still}."

    def _minimal(self, piece: Piece, folder: Path) -> str:
        """Write the Program of what shows the error, and the script; how to see it."""
        place = folder / "program"
        self.engine.write(piece, place)
        exchange = self.engine.exchange
        for file in exchange.iterdir() if exchange else ():
            (shutil.copytree if file.is_dir() else shutil.copy)(file, place / file.name)
        request = {
            "adapter": str(self.target.framework.folder), "backend": self.target.backend.name,
            "entry": piece.entry.name, "trainable": sorted(piece.trainable), "threads": self.engine.threads,
        }  # fmt: skip
        (folder / "piece.json").write_text(json.dumps(request, indent=1))
        again = f"inferena explain {folder}"
        entry = Program.read(place).entry(piece.entry.name)
        tensor = (self.found.alone.tensor if self.found.alone else "") or next(iter(entry.outputs))
        text = script(self.target.framework, self.target.backend, entry, tensor, self._heading())
        if not text:
            return f"no script for the engine alone: nothing says how its operators are called; again: {again}"
        arrays = {**entry.arrays("inputs"), **entry.arrays("constants"), **load_file(place / "weights.safetensors")}
        np.savez(folder / "inputs.npz", **arrays)
        exact, usual = (computed(piece, dtype)[tensor] for dtype in (torch.float64, torch.float32))
        np.savez(folder / "expected.npz", float64=exact, pytorch_float32=usual)
        (folder / SCRIPT).write_text(text, encoding="utf-8")
        return f"{self._tried(folder)}\nagain: {again}"

    def _tried(self, folder: Path) -> str:
        """Run the script, in a process of its own as a reader would."""
        command = [self.target.framework.python, SCRIPT]
        env = self.target.framework.environment(self.target.backend, folder, self.engine.threads)
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=10 * MINUTE, check=False,
                env={**os.environ, **env},
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"{SCRIPT} takes more than ten minutes"
        if done.returncode:
            raised = [line for line in done.stderr.splitlines() if re.match(r"[\w.]*(Error|Exception)\b", line)]
            return f"{SCRIPT}, for the engine alone, breaks: {''.join(raised[-1:]) or done.stderr.strip()[-200:]}"
        if self.found.alone and not _shows(done.stdout, self.found.alone):
            return f"{SCRIPT} does not show it, so the adapter, not the engine, may be to blame: {done.stdout.strip()}"
        return f"python {SCRIPT}\n{done.stdout.strip()}"

    def _heading(self) -> str:
        operators = ", ".join(dict.fromkeys(node.operator for node in self.found.nodes or (self.found.node,)))
        whose = "gradient" if self.found.alone and self.found.alone.tensor.startswith("grad:") else "result"
        return f"{operators} in {self._title()}: the {whose} differs from float64 by more than rounding"

    def _title(self) -> str:
        return f"{self.target.framework.title} ({self.target.backend.name})"

    def _issue(self, text: str, showing: str) -> str:
        versions = {**self.target.framework.versions, **self.engine.hello.get("versions", {})}
        about = machine.describe()
        features = " ".join(dict.fromkeys(FEATURES.findall(machine.instruction_sets())))
        return ISSUE.format(
            heading=self._heading(), versions=", ".join(f"{name} {version}" for name, version in versions.items()),
            text=text, showing=showing, cpu=about.cpu, os=about.os, features=features, python=about.python,
            ran=self.engine.hello.get("ran", ""), threads=self.engine.threads, torch=torch.__version__,
            model=self.workload.model.title, size=self.workload.size, weights=self.workload.weights, cell=self.cell,
            said=self.said,
        )  # fmt: skip


ISSUE = """\
# {heading}

{text}

Errors are RMS(result − exact) / RMS(exact), the exact result being PyTorch's in float64 from the same inputs.

## To see it

{showing}

## Where

- {versions}; {ran}; {threads} threads; Python {python}; compared with PyTorch {torch}
- {cpu}, {os}
- {features}

Found by `inferena explain {cell}` in {model} ({size}, weights {weights}): {said}
"""


def _spelled(node: Node, cutter: Cutter) -> str:
    """An operator with its arguments: tensors by shape and dtype, numbers by value."""
    said = [f"{name}={_value(value, cutter)}" for name, value in node.arguments.items()]
    return f"node {node.name}: {node.operator}({', '.join(said)})"


def _value(value: Any, cutter: Cutter) -> str:
    if isinstance(value, Ref):
        spec = cutter.entry.specs[value.name]
        return f"{spec.dtype}{list(spec.shape)}"
    if isinstance(value, list):
        return f"[{', '.join(_value(item, cutter) for item in value)}]"
    return repr(value)


def _shows(printed: str, alone: Seen) -> bool:
    """Whether a script printed about the error that was found."""
    numbers = re.findall(r": (\d\S*e[-+]\d+)", printed)
    return bool(numbers) and float(numbers[0]) > alone.error / 2
