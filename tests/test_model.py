from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.projects import MODEL, Project

from pytest_inferena import machine as platform
from pytest_inferena.cell import METRICS
from pytest_inferena.collect.model import Model
from pytest_inferena.collect.registry import Registry
from pytest_inferena.collect.source import Source
from pytest_inferena.prepare.attempts import Attempts
from pytest_inferena.prepare.case import Case
from pytest_inferena.prepare.entries import entries
from pytest_inferena.prepare.sources import load_case

MODELS = Path(__file__).parents[1] / "benchmarks" / "models"
GOOD = 'TITLE = "A"\nUNIT = "token"\nITEMS = 128\nPARAMETERS = 1_000\n'


def _write(folder: Path, text: str, name: str = "mine.py") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_constants_are_read_without_running_the_file(tmp_path: Path) -> None:
    """A file that cannot even be imported can be collected."""
    path = _write(tmp_path, "import nothing_of_the_kind\n" + GOOD)

    expected = Model("mine", "A", Source.parse(str(path), None), "token", 128, 1000)

    assert expected == Model.from_file(path)


def test_two_models_of_one_title_are_told(tmp_path: Path) -> None:
    """The names are in the note; others are not mentioned."""
    names = ("one", "two", "three")
    texts = (GOOD, GOOD, GOOD.replace('"A"', '"B"'))
    files = [_write(tmp_path, text, f"{name}.py") for name, text in zip(names, texts, strict=True)]
    registry = Registry({file.stem: Model.from_file(file) for file in files}, {})

    assert ["the models one and two have one title, 'A'; tables tell them apart by their names"] == registry.namesakes()


@pytest.mark.parametrize(
    "text",
    [b"\xff\xfe", b"x = " + b"(" * 5000, b"\0", b"#" * (5 << 20), GOOD.encode() + b"ITEMS = 1" + b"0" * 50],
    ids=["binary", "deep", "zero", "large", "number"],
)
def test_what_is_no_model_s_file(tmp_path: Path, text: bytes) -> None:
    """No text, deep nesting, a huge file and a huge number are one error each, which names the file."""
    path = tmp_path / "mine.py"
    path.write_bytes(text)

    with pytest.raises(ValueError, match=r"mine\.py"):
        Model.from_file(path)


def test_large_and_annotations_are_understood(tmp_path: Path) -> None:
    """LARGE is optional, and any constant may be annotated."""
    path = _write(tmp_path, GOOD.replace("ITEMS =", "ITEMS: int =") + "LARGE = True\n")

    assert (True, 128) == (Model.from_file(path).large, Model.from_file(path).items)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("128", '"128"', r"mine\.py: ITEMS is '128'; write a literal int"),
        ("128", "True", r"ITEMS is True; write a literal int"),
        ("128", "4 * 32", r"ITEMS is an expression; write a literal int"),
        ("128", "0", r"ITEMS is 0; it has to be positive"),
        ("128", "-3", r"ITEMS is -3; it has to be positive"),
        ('"A"', '""', r"TITLE is ''; it has to be some text"),
        ("1_000", "1_000\nLARGE = 1", r"LARGE is 1; write a literal bool"),
        ("1_000", "1_000\nPACKAGES = 'weights'", r"PACKAGES is 'weights'; write a literal list"),
        ("1_000", "1_000\nNEEDS_GIB = 64", r"NEEDS_GIB is 64; write a literal dict"),
        ("1_000", '1_000\nNEEDS_GIB = {"joint": 64}', r"it maps entries \(inference, latency, training\) to whole GiB"),
        ("1_000", '1_000\nNEEDS_GIB = {"training": 0}', r"it maps entries"),
        ("TITLE", "def", r"mine\.py:1: .*has to be Python"),
    ],
)
def test_what_is_wrong_is_named_with_its_remedy(tmp_path: Path, old: str, new: str, message: str) -> None:
    """File, constant, what it is and what to write."""
    path = _write(tmp_path, GOOD.replace(old, new))

    with pytest.raises(ValueError, match=message):
        Model.from_file(path)


@pytest.mark.parametrize(
    ("memory", "asked", "reason"),
    [
        (63, ("training", "full"), "needs 64 GiB of memory, this machine has 63"),
        (63, ("joint", "full"), "needs 64 GiB of memory, this machine has 63"),
        (63, ("training", "tiny"), ""),
        (64, ("training", "full"), ""),
        (63, ("latency", "full"), ""),
        (None, ("training", "full"), ""),
    ],
)
def test_memory_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: int | None, asked: tuple[str, str], reason: str
) -> None:
    """Only full size needs it, and where a system does not say what it has, the model is tried."""
    monkeypatch.setattr(platform, "memory_gib", lambda: memory)
    model = Model.from_file(_write(tmp_path, GOOD + 'NEEDS_GIB = {"training": 64}\n'))

    assert reason == model.too_big(*asked)


@pytest.mark.parametrize("name", ["My.py", "my-model.py", "my model.py"])
def test_name_has_to_fit_test_ids(tmp_path: Path, name: str) -> None:
    """The stem becomes part of test ids, whose separator is a dash."""
    with pytest.raises(ValueError, match="rename it"):
        Model.from_file(_write(tmp_path, GOOD, name))


def test_collection_imports_no_torch() -> None:
    """Reading all models costs neither torch nor transformers."""
    code = (
        "import sys; from pathlib import Path; from pytest_inferena.collect.model import Model\n"
        "[Model.from_file(p) for p in Path(sys.argv[1]).glob('*.py')]\n"
        "print({'torch', 'transformers', 'numpy'} & sys.modules.keys())"
    )

    output = subprocess.run(
        [sys.executable, "-c", code, str(MODELS)], check=True, capture_output=True, text=True
    ).stdout

    assert "set()\n" == output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", r"no function case\(size\)"),
        ("def case(size):\n    return 3\n", r"case\('tiny'\) returned int; return a Case"),
    ],
)
def test_file_without_a_case_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """What a model file has to define is said where it does not."""
    with pytest.raises(ValueError, match=message):
        load_case(_write(tmp_path, text), "tiny")


def test_broken_file_leaves_no_module(tmp_path: Path) -> None:
    """An error in the file is its own, and importing it again starts afresh."""
    with pytest.raises(ZeroDivisionError):
        load_case(_write(tmp_path, "1 / 0\n", "broken.py"), "tiny")

    assert "pytest_inferena_model_broken" not in sys.modules


@pytest.mark.parametrize("path", sorted(MODELS.glob("*.py")), ids=lambda path: path.stem)
def test_every_model_has_a_tiny_case(path: Path) -> None:
    """It runs with its own inputs, gives what it names, and its loss is a finite scalar."""
    case = load_case(path, "tiny")

    with torch.no_grad():
        outputs = case.module(**case.inputs)
        latency = case.module(**case.latency)
    outputs, latency = (o if isinstance(o, tuple) else (o,) for o in (outputs, latency))
    loss = case.loss(*outputs, **case.targets)

    assert isinstance(case, Case)
    assert len(case.outputs) == len(outputs) == len(latency)
    assert ((), True) == (loss.shape, bool(torch.isfinite(loss)))


@pytest.mark.parametrize(
    ("name", "parameters"), [(path.stem, Model.from_file(path).parameters) for path in sorted(MODELS.glob("*.py"))]
)
def test_full_size_has_the_parameters_it_claims(name: str, parameters: int) -> None:
    """PARAMETERS is what the disk estimate is made from."""
    with torch.device("meta"):
        module = load_case(MODELS / f"{name}.py", "full").module

    assert parameters == sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", ["sd_unet", "smolvla", "whisper_tiny"])
def test_tiny_has_every_operator_of_full(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tested at tiny size is what full size needs; the larger models take too long for it here."""
    for random in ("normal_", "uniform_"):
        monkeypatch.setattr(torch.Tensor, random, lambda self, *_, **__: self)  # values do not matter to a graph
    tiny, full = (_operators(load_case(MODELS / f"{name}.py", size)) for size in ("tiny", "full"))

    assert tiny == full


@pytest.mark.parametrize("refused", [{"training"}, set(METRICS)])
def test_a_machine_that_is_too_small_says_so(
    project: Project, monkeypatch: pytest.MonkeyPatch, refused: set[str]
) -> None:
    """Cells that memory is missing for are skipped, and nothing is prepared for them."""
    monkeypatch.setenv("INFERENA_CACHE", str(project.path / "cache"))
    needs = dict.fromkeys(refused - {"compile"}, 10**6)  # compile is the entry inference
    project.write("models/big.py", MODEL.read_text() + f"NEEDS_GIB = {needs}\n")
    result = project.run("-k", "big")

    result.assert_outcomes(passed=4 - len(refused), skipped=len(refused))
    assert {"needs 1000000 GiB of memory"} == {project.records()[m]["reason"].split(",")[0] for m in refused}
    prepared = {path.stem for path in project.path.glob("cache/**/golden-*.safetensors")}
    assert {f"golden-{metric}" for metric in METRICS if metric not in refused | {"compile"}} == prepared


def _operators(case: Case) -> dict[str, set[str]]:
    return {entry: {node.operator for node in graph.nodes} for entry, (graph, _) in entries(case, Attempts()).items()}
