"""Tests of the Program as data: written, read, refused, and walked."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from pytest_inferena.worker import Unsupported, evaluate
from pytest_inferena.worker.format import Entry, Node, Program, Ref, TensorSpec

if TYPE_CHECKING:
    from pathlib import Path

READ = """
import sys
from pathlib import Path
from pytest_inferena.worker import Program, evaluate
entry = Program.read(Path(sys.argv[1])).entry("inference")
evaluate(entry, {"scale": lambda x, factors, table: x * factors[0]}, {"x": 2.0, "w": 3.0, "c": 4.0})
print(*sorted({"torch", "pytest", "jax", "transformers"} & set(sys.modules)))
"""


def spec(name: str, *shape: int) -> TensorSpec:
    """Of float32."""
    return TensorSpec(name, shape, "float32")


def entry() -> Entry:
    """Two nodes, and arguments of every kind."""
    arguments = {
        "self": Ref("x"), "factors": [Ref("w"), None, [Ref("c"), 2]], "table": [True, 1, 0.5, "tanh", -math.inf],
    }  # fmt: skip
    nodes = (
        Node("scale", arguments, (spec("a", 2, 3),)),
        Node("scale", {"self": Ref("a"), "factors": [Ref("w")], "table": []}, (spec("b", 2, 3),)),
    )
    return Entry("inference", (spec("x", 2, 3),), ("w",), (spec("c", 1),), nodes, {"out": "b", "same": "x"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A Program with the entry `inference`."""
    Program(tmp_path, "small", {"w": spec("w", 3), "v": spec("v")}, frozenset({"w"})).write()
    (tmp_path / "inference.json").write_text(json.dumps(entry().to_json(), allow_nan=False))
    save_file({"c": np.ones(1, np.float32)}, tmp_path / "inference.constants.safetensors")
    save_file({"x": np.zeros((2, 3), np.float32)}, tmp_path / "inference.inputs.safetensors")
    return tmp_path


def test_program_is_read_as_it_was_written(folder: Path) -> None:
    """Model, parameters and which of them are trained."""
    program = Program.read(folder)

    assert ("small", {"w": spec("w", 3), "v": spec("v")}, frozenset({"w"})) == (
        program.model, program.parameters, program.trainable,
    )  # fmt: skip


def test_entry_is_read_as_it_was_written(folder: Path) -> None:
    """Every argument is, and every tensor has its shape; inputs and constants lie beside it."""
    read, made = Program.read(folder).entry("inference"), entry()

    assert made.to_json() == read.to_json()
    assert (made.nodes, made.inputs, made.constants, made.outputs) == (
        read.nodes, read.inputs, read.constants, read.outputs,
    )  # fmt: skip
    assert {"x", "w", "c", "a", "b"} == set(read.specs)
    assert (3,) == read.specs["w"].shape
    assert ({"c"}, {"x"}) == (set(read.arrays("constants")), set(read.arrays("inputs")))
    assert ["x", "w", "c"] == list(read.nodes[0].inputs())


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan, 0.1, 1e300, -0.0, 2.0, 3, True, None])
def test_numbers_come_back(number: Any) -> None:
    """Those that JSON lacks too, and an integer, a float and a boolean stay what they were."""
    node = Node("full", {"fill_value": number, "size": [number]}, (spec("a"),))
    text = json.dumps(Entry("inference", (), (), (), (node,), {}).to_json(), allow_nan=False)
    (read,) = Entry.from_json(json.loads(text)).nodes

    for back in (read.arguments["fill_value"], read.arguments["size"][0]):
        assert (type(number), repr(number)) == (type(back), repr(back))


@pytest.mark.parametrize("name", ["program.json", "inference.json"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "Program version 2, this reader knows 1; 'inferena cache clear' and run again"),
        ({"version": None}, "Program version None, this reader knows 1"),
        ({"format": "onnx"}, "not an inferena Program: 'format' is missing"),
    ],
)
def test_other_documents_are_refused(folder: Path, name: str, change: dict[str, Any], message: str) -> None:
    """Another version or format is an error that names the file and the remedy."""
    document = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps(document | change))

    with pytest.raises(ValueError, match=f"{name}: {message}"):
        Program.read(folder).entry("inference")


@pytest.mark.parametrize("text", ["[]", "{", "3", ""])
def test_what_is_no_document_is_refused(folder: Path, text: str) -> None:
    """Broken JSON and other JSON are errors that name the file."""
    (folder / "program.json").write_text(text)

    with pytest.raises(ValueError, match=r"program\.json"):
        Program.read(folder)


def test_missing_entry_is_unsupported(folder: Path) -> None:
    """A model may have no joint entry."""
    with pytest.raises(Unsupported, match="the Program of small has no entry joint"):
        Program.read(folder).entry("joint")


def test_evaluate_walks_the_nodes() -> None:
    """Operators get their arguments in order, references replaced, also inside lists; an input may be an output."""
    seen: list[Any] = []

    def scale(x: float, factors: list[Any], table: list[Any]) -> float:
        seen.append((x, factors, table))
        return x * float(factors[0])

    found = evaluate(entry(), {"scale": scale}, {"x": 2.0, "w": 3.0, "c": 4.0})

    assert {"out": 18.0, "same": 2.0} == found
    assert [(2.0, [3.0, None, [4.0, 2]], [True, 1, 0.5, "tanh", -math.inf]), (6.0, [3.0], [])] == seen


def test_evaluate_frees_what_nobody_reads() -> None:
    """A tensor is gone after its last reader, one that nobody reads at once; the caller's own are left alone."""
    alive: set[str] = set()

    class Tensor:
        def __init__(self, name: str) -> None:
            self.name = name
            alive.add(name)

        def __del__(self) -> None:
            alive.discard(self.name)

    nodes = (
        Node("two", {"self": Ref("x")}, (spec("a"), spec("a.1"))),
        Node("one", {"self": Ref("a"), "name": "b"}, (spec("b"),)),
        Node("one", {"self": Ref("b"), "name": "c"}, (spec("c"),)),
        Node("one", {"self": Ref("b"), "name": "d"}, (spec("d"),)),
    )
    walked, held = Entry("inference", (spec("x"),), (), (), nodes, {"out": "d", "early": "a"}), []

    def one(_: Tensor, name: str) -> Tensor:
        held.append((name, sorted(alive)))
        return Tensor(name)

    values = {"x": Tensor("x")}
    found = evaluate(walked, {"one": one, "two": lambda _: (Tensor("a"), Tensor("a.1"))}, values)

    assert [("b", ["a", "x"]), ("c", ["a", "b", "x"]), ("d", ["a", "b", "x"])] == held
    assert (["a", "d", "x"], ["d", "a"]) == (sorted(alive), [tensor.name for tensor in found.values()])
    assert ["x"] == list(values)


def test_evaluate_names_what_is_unsupported() -> None:
    """The operator and the node that wants it."""
    with pytest.raises(Unsupported, match=r"^unsupported operator aten\.scale, node a$"):
        evaluate(entry(), {}, {"x": 1.0, "w": 1.0, "c": 1.0})


def test_node_of_several_outputs_has_to_make_them_all() -> None:
    """An operator that returns too few is an error, not a tensor that is missing later."""
    node = Node("two", {}, (spec("a"), spec("b")))

    with pytest.raises(ValueError, match="shorter"):
        evaluate(Entry("inference", (), (), (), (node,), {"out": "a"}), {"two": lambda: (1,)}, {})


def test_reader_needs_no_framework(folder: Path) -> None:
    """Reading and walking a Program imports neither torch nor pytest."""
    command = [sys.executable, "-c", READ, str(folder)]

    assert "\n" == subprocess.run(command, check=True, capture_output=True, text=True).stdout
