"""What the preparer writes for rten's executable: the Program as ONNX, beside the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx

from pytest_inferena import Exchange
from pytest_inferena.program.onnx import FUSED, to_onnx, write_entries

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_inferena import Program


class Adapter(Exchange):
    """Only its files: the worker is `inferena-rten`."""

    @classmethod
    def prepare(cls, program: Program, folder: Path) -> None:
        """Write ENTRY.onnx beside the weights, which rten takes from files called *.data only."""
        write_entries(program, folder, linked=True)
        if (folder / "joint.onnx").exists():  # gradients read the mean and the deviation, which rten's norm keeps
            to_onnx(program.entry("joint"), program, folder, fused=FUSED - {"LayerNormalization"})
        for file in folder.glob("*.safetensors"):
            file.rename(file.with_suffix(".data"))
        for file in folder.glob("*.onnx"):
            model = onnx.load(file, load_external_data=False)
            for pair in (pair for tensor in model.graph.initializer for pair in tensor.external_data):
                if pair.key == "location":
                    pair.value = pair.value.replace(".safetensors", ".data")
            onnx.save(model, file)
