"""What the preparer writes for rten's executable: the Program as ONNX, beside the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import onnx

from pytest_inferena import Exchange
from pytest_inferena.program.onnx import write_entries, written

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_inferena import Operators, Program
    from pytest_inferena.worker.capabilities import Conditions

FLAGS: Conditions = {"dtype": ["bool"]}


class Adapter(Exchange):
    """Only its files: the worker is `inferena-rten`."""

    operators: ClassVar[Operators] = written(
        "max_pool2d_with_indices", "native_layer_norm",  # its pool and its norm have one result
        bitwise_and=FLAGS, bitwise_not=FLAGS, bitwise_or=FLAGS, max_pool2d={"dilation": [1]},
    )  # fmt: skip

    @classmethod
    def prepare(cls, program: Program, folder: Path) -> None:
        """Write ENTRY.onnx beside the weights, which rten takes from files called *.data only."""
        write_entries(program, folder, linked=True)
        for file in folder.glob("*.safetensors"):
            file.rename(file.with_suffix(".data"))
        for file in folder.glob("*.onnx"):
            model = onnx.load(file, load_external_data=False)
            for pair in (pair for tensor in model.graph.initializer for pair in tensor.external_data):
                if pair.key == "location":
                    pair.value = pair.value.replace(".safetensors", ".data")
            onnx.save(model, file)
