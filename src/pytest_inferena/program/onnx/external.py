"""Tensors of a safetensors file as ONNX external data: the file lies on disk once, ONNX points into it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from onnx import TensorProto

from pytest_inferena.program.onnx.builder import DTYPES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pytest_inferena.worker.format import TensorSpec


def external(file: Path, specs: Iterable[TensorSpec]) -> list[TensorProto]:
    """Initializers whose data are the bytes of a safetensors file, found by its name in its folder.

    Raises:
        KeyError: the file has no tensor of that name.
    """
    places, data = _header(file)
    tensors = []
    for spec in specs:
        begin, end = places[spec.name]["data_offsets"]
        tensor = TensorProto(name=spec.name, data_type=DTYPES[spec.dtype], dims=spec.shape)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", file.name), ("offset", data + begin), ("length", end - begin)):
            tensor.external_data.add(key=key, value=str(value))
        tensors.append(tensor)
    return tensors


def link(source: Path, folder: Path) -> None:
    """A hard link of a file in another folder; engines that open a path refuse data outside its folder.

    Both folders have to lie on one file system, as the folders of the cache do.
    """
    if not (folder / source.name).exists():
        os.link(source, folder / source.name)


def _header(file: Path) -> tuple[dict[str, Any], int]:
    """Where the tensors lie, and where the data begin; the format's first 8 bytes are the header's length."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header: dict[str, Any] = json.loads(stream.read(length))
    return header, 8 + length
