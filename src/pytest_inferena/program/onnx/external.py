"""Tensors of a safetensors file as ONNX external data: the file is on disk once, and ONNX points into it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from onnx import TensorProto

from pytest_inferena.program.onnx.builder import DTYPES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pytest_inferena.worker.format import TensorSpec


SMALL = 1024
"""Bytes below which a constant stands in the ONNX file itself, as is usual: engines read what tells a shape from it."""


def external(file: Path, specs: Iterable[TensorSpec], *, above: int = 0) -> list[TensorProto]:
    """Initializers whose data are bytes of a safetensors file. ONNX names the file without its folder.

    Args:
        file: where they lie.
        specs: which of them.
        above: smaller ones, in bytes, are copied instead.

    Raises:
        KeyError: the file has no tensor of that name.
    """
    places, data = _header(file)
    tensors = []
    for spec in specs:
        begin, end = places[spec.name]["data_offsets"]
        tensor = TensorProto(name=spec.name, data_type=DTYPES[spec.dtype], dims=spec.shape)
        tensors.append(tensor)
        if end - begin < above:
            with file.open("rb") as stream:
                stream.seek(data + begin)
                tensor.raw_data = stream.read(end - begin)
            continue
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", file.name), ("offset", data + begin), ("length", end - begin)):
            tensor.external_data.add(key=key, value=str(value))
    return tensors


def _header(file: Path) -> tuple[dict[str, Any], int]:
    """The places of the tensors, and where the data begin. The first 8 bytes of a file are the header's length."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header: dict[str, Any] = json.loads(stream.read(length))
    return header, 8 + length
