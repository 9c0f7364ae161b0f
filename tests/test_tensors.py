from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch

from pytest_inferena.verdict.tensors import CHUNK, GoldenFile, distance

RESIDENT = """
import sys
from pathlib import Path
from pytest_inferena.verdict.gate import judge
from pytest_inferena.verdict.tensors import GoldenFile
file = GoldenFile(Path(sys.argv[1]))
def private():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(sys.argv[2])))
before = private()
assert judge(file, dict.fromkeys(file, 0.0), file).outcome == "pass"
print(private() - before)
"""


@pytest.fixture
def arrays() -> dict[str, Any]:
    """Tensors of several shapes and types."""
    rng = np.random.default_rng(0)
    return {
        "matrix": rng.standard_normal((3, 5), dtype=np.float32),
        "scalar": np.array(2.5, np.float32),
        "empty": np.zeros((0, 4), np.float32),
        "ids": np.arange(6, dtype=np.int64).reshape(2, 3),
        "mask": np.array([True, False]),
    }


def _raw(path: Path, header: dict[str, Any], data: bytes = b"") -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def test_file_gives_what_was_saved(tmp_path: Path, arrays: dict[str, Any]) -> None:
    """Every tensor comes back with its values, shape and type."""
    save_file(arrays, tmp_path / "x.safetensors")

    file = GoldenFile(tmp_path / "x.safetensors")

    assert set(arrays) == set(file)
    for name, right in arrays.items():
        read = file[name]
        assert read is not None
        assert (right.shape, right.dtype, right.tolist()) == (read.shape, read.dtype, read.tolist())


def test_none_names_are_part_of_the_mapping(tmp_path: Path, arrays: dict[str, Any]) -> None:
    """A gradient that does not exist is a name whose value is None."""
    save_file(arrays, tmp_path / "x.safetensors")

    file = GoldenFile(tmp_path / "x.safetensors", none=["grad:unused"])

    assert [len(arrays) + 1, None, True] == [len(file), file["grad:unused"], "grad:unused" in file]


def test_unknown_name_is_a_key_error(tmp_path: Path, arrays: dict[str, Any]) -> None:
    """A name that is not there is the mapping's own error."""
    save_file(arrays, tmp_path / "x.safetensors")

    with pytest.raises(KeyError, match="nothing"):
        GoldenFile(tmp_path / "x.safetensors")["nothing"]


def test_bfloat16_keeps_its_name(tmp_path: Path) -> None:
    """What NumPy has no type for can still be named in a verdict."""
    save_torch({"x": torch.ones(3, dtype=torch.bfloat16)}, tmp_path / "x.safetensors")

    tensor = GoldenFile(tmp_path / "x.safetensors")["x"]

    assert tensor is not None
    assert (3,) == tensor.shape
    assert {"name": "bfloat16"} == dict(tensor.dtype.metadata or {})


@pytest.mark.parametrize("keep", [0, 5, 20])
def test_cut_off_file_is_refused(tmp_path: Path, arrays: dict[str, Any], keep: int) -> None:
    """A file cut off inside its header is named, with the remedy."""
    path = tmp_path / "x.safetensors"
    save_file(arrays, path)
    path.write_bytes(path.read_bytes()[:keep])

    with pytest.raises(ValueError, match=r"x\.safetensors .*write it again"):
        GoldenFile(path)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
        {"dtype": "X9", "shape": [1], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2]},
        "nonsense",
    ],
)
def test_broken_header_is_refused(tmp_path: Path, entry: object) -> None:
    """A header that does not fit its file is a ValueError, whatever is wrong in it."""
    path = _raw(tmp_path / "x.safetensors", {"x": entry}, bytes(8))

    with pytest.raises(ValueError, match="broken safetensors header"):
        GoldenFile(path)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_judging_a_file_holds_no_file(tmp_path: Path) -> None:
    """Judging 256 MiB of gradients grows the process by no more than two tensors and some chunks."""
    tensor = np.ones((1 << 24,), np.float32)
    save_file({f"grad:{i}": tensor for i in range(4)}, tmp_path / "x.safetensors")
    command = [sys.executable, "-c", RESIDENT, str(tmp_path / "x.safetensors"), "VmHWM"]

    grown = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert grown < 200 * 1024


@pytest.mark.parametrize("size", [1, 7, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 5])
def test_distance_is_that_of_the_whole_tensor(size: int) -> None:
    """Chunks add up to the figures of one pass over all elements."""
    rng = np.random.default_rng(size)
    golden, other = rng.standard_normal((2, size))

    found = distance(golden, other)

    error = other - golden
    assert np.sqrt(np.mean(golden**2)) == pytest.approx(found.rms)
    assert np.sqrt(np.mean(error**2)) == pytest.approx(found.rmse)
    assert (int(np.abs(error).argmax()), True) == (found.worst, found.agrees)


def test_distance_finds_the_first_value_that_is_not_finite() -> None:
    """It is the index that matters then, and golden's RMS stays known."""
    golden, other = np.ones((2, CHUNK + 10))
    other[[CHUNK + 3, CHUNK + 7]] = np.nan, np.inf

    found = distance(golden, other)

    assert (1.0, np.inf, CHUNK + 3, False) == (found.rms, found.rmse, found.worst, found.agrees)


def test_distance_of_the_largest_floats_does_not_overflow() -> None:
    """The squares of float32's largest values fit into float64."""
    golden = np.full(9, np.finfo(np.float32).max)

    found = distance(golden, -golden)

    assert (float(golden[0]), 2 * float(golden[0])) == pytest.approx((found.rms, found.rmse))


def test_distance_wants_one_shape() -> None:
    """Shapes that would broadcast are refused."""
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        distance(np.ones((1, 3)), np.ones(3))


def test_a_pipe_is_no_file_of_tensors(tmp_path: Path) -> None:
    """A pipe in the place of an engine's outputs is refused, and never waited for."""
    os.mkfifo(tmp_path / "outputs.safetensors")

    with pytest.raises(ValueError, match=r"outputs\.safetensors is no plain file"):
        GoldenFile(tmp_path / "outputs.safetensors")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"[" * 1000 + b"]" * 1000, "nested over 64 deep"),
        (json.dumps({f"t{n}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in range(2000)}).encode(),
         "has a header of .* bytes, too many for 3 tensors"),
        (b'{"x": {"dtype": "F32", "shape": [1' + b"0" * 30 + b'], "data_offsets": [0, 4]}}', "over 63"),
    ],
    ids=["deep", "many", "large"],
)  # fmt: skip
def test_a_hostile_header(tmp_path: Path, header: bytes, message: str) -> None:
    """Deep nesting, many names and huge numbers are one error, at no cost."""
    file = tmp_path / "outputs.safetensors"
    file.write_bytes(struct.pack("<Q", len(header)) + header)

    with pytest.raises(ValueError, match=message):
        GoldenFile(file, names=3)
