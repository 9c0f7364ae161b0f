"""Smooth inputs in place of noise: what is made of which tensor, the cells of them, and a fault that noise hides."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import torch
from tests.in_ci import long

from pytest_inferena import results
from pytest_inferena.cell import Cell
from pytest_inferena.collect.model import Model
from pytest_inferena.commands import cli, explain
from pytest_inferena.prepare.smooth import smoothed
from pytest_inferena.prepare.sources import load_case
from pytest_inferena.processes.workload import Workload
from pytest_inferena.worker.format import Unsupported

if TYPE_CHECKING:
    from tests.projects import Project
    from torch import Tensor

ROOT = Path(__file__).parents[1]
MODELS = {"smollm2": "input_ids", "smolvla": "noisy_actions", "sd_unet": "noisy_latent", "resnet50": "pixel_values",
          "whisper_tiny": "input_features"}  # fmt: skip
"""Each model with an input that becomes smooth."""
CELLS = [
    *(f"{model}-onnxruntime-cpu-smooth" for model in MODELS),
    *(f"{model}-jax-xla-smooth" for model in ("smollm2", "sd_unet", "whisper_tiny")),
    *(f"{model}-pytorch-eager-smooth" for model in ("smolvla", "resnet50")),
]
"""What real engines are asked for."""
TEXT = """
import torch
from pytest_inferena import Case

class Text(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.out = torch.nn.Embedding(30, 8), torch.nn.Linear(8, 3)
    def forward(self, ids):
        return self.out(self.words(ids)).tanh()

def case(size="full"):
    ids = torch.randperm(30, generator=torch.Generator().manual_seed(0)).reshape(2, 15)
    return Case(Text(), {"ids": ids})
"""
OVERWRITES = """
@jax.custom_vjp
def embedding(weight, indices):
    return jnp.asarray(weight)[indices]


embedding.defvjp(
    lambda weight, indices: (embedding(weight, indices), (weight, indices)),
    lambda kept, grad: (jnp.zeros_like(kept[0]).at[kept[1]].set(grad), None),
)
OPERATORS["embedding"] = embedding
"""
OWN = """
def test_own(inferena):
    first, second = (inferena.measure("mlp", framework="fake", inputs=kind) for kind in ("noise", "smooth"))
    assert ("noise", "smooth") == (first.record.inputs, second.record.inputs)
    assert (first.outputs["output"] != second.outputs["output"]).any()
"""


def noise(*shape: int) -> Tensor:
    """Normal numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def roughness(x: Tensor) -> float:
    """How far neighbours on the last axis are apart, in standard deviations."""
    return float(x.diff(dim=-1).square().mean().sqrt() / x.std())


@pytest.mark.parametrize(
    "shape", [(2, 3, 32, 32), (1, 2, 4, 16, 16), (2, 4000), (2, 80, 100), (2, 5, 64), (64,)], ids=str
)
def test_pictures_and_chirps(shape: tuple[int, ...]) -> None:
    """Neighbours resemble each other, some are equal; mean and deviation are the noise's; none is beyond it."""
    x = 3 * noise(*shape) + 1
    made = smoothed({"x": x})["x"]
    apart = made.flatten(0, 1 if x.ndim > 3 else 0) if x.ndim > 1 else made[None]

    assert (x.shape, x.dtype) == (made.shape, made.dtype)
    assert roughness(made) < roughness(x) / 2
    assert (made.diff() == 0).any()
    assert abs(x.mean() - made.mean()) < 0.02 * x.std()
    assert abs(x.std() / made.std() - 1) < 0.02
    assert x.min() <= made.min() < made.max() <= x.max()
    assert len(apart) == len(apart.unique(dim=0))


def test_a_chirp_gets_faster() -> None:
    """Its last tenth changes sides more often than its first."""
    made = smoothed({"x": noise(1, 4000)})["x"][0]
    first, last = ((part.sign().diff() != 0).sum() for part in (made[:400], made[-400:]))

    assert 5 * first < last


def test_pictures_of_bytes() -> None:
    """They stay bytes, and are smooth all the same."""
    x = torch.arange(2 * 3 * 16 * 16).remainder(251).reshape(2, 3, 16, 16).to(torch.uint8)
    made = smoothed({"x": x})["x"]

    assert torch.uint8 == made.dtype
    assert roughness(made.float()) < 0.6


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_texts(dtype: torch.dtype) -> None:
    """The first values of each row stand again and again, two of them side by side; no other value comes in."""
    x = torch.tensor([[7, 3, 9, 1, 2, 4, 8, 5, 6], [11, 5, 6, 12, 2, 4, 8, 5, 6]], dtype=dtype)

    assert [[7, 7, 3, 9, 7, 7, 3, 9, 7], [11, 11, 5, 6, 11, 11, 5, 6, 11]] == smoothed({"x": x})["x"].tolist()


KEPT = {
    "bool": noise(2, 16) > 0,
    "mask": (noise(2, 16) > 0).float(),
    "integer-mask": (noise(2, 16) > 0).long(),
    "bias": torch.where(noise(2, 1, 16, 16) > 0, 0.0, -torch.inf),
    "lowest": torch.where(noise(2, 1, 16, 16) > 0, 0.0, torch.finfo(torch.float32).min),
    "scalar": torch.tensor(0.3),
    "short": noise(4),
    "features": noise(4, 7),
    "steps": torch.arange(0, 900, 30).float(),
    "offsets": torch.arange(20) ** 2,
    "order": torch.stack([torch.randperm(20, generator=torch.Generator().manual_seed(at)) for at in range(2)]),
    "edges": torch.tensor([[0, 1, 2, 3, 4, 0], [1, 2, 3, 4, 0, 2]]),
    "places": torch.arange(2 * 3 * 8 * 8).reshape(2, 3, 8, 8),
}


@pytest.mark.parametrize("name", KEPT)
def test_what_means_something_stays(name: str) -> None:
    """Masks, flags, positions, orders, and what has too few places for anything."""
    made = smoothed({"picture": noise(1, 1, 8, 8), "other": KEPT[name]})

    assert torch.equal(KEPT[name], made["other"])


def test_structures_and_complex_numbers() -> None:
    """Tensors in lists and dicts too; a number of the user's stays."""
    x = torch.complex(noise(2, 64), noise(2, 64))
    made = smoothed({"all": [x, {"scale": 2.0, "y": noise(2, 64)}]})["all"]

    assert torch.complex64 == made[0].dtype
    assert roughness(made[0].real) < 0.6
    assert 2.0 == made[1]["scale"]
    assert roughness(made[1]["y"]) < 0.6


def test_they_are_the_same_everywhere() -> None:
    """By any number of threads; two inputs of one shape are not alike."""
    x, before, found = noise(2, 3, 64, 64), torch.get_num_threads(), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append(smoothed({"x": x, "y": x}))
    torch.set_num_threads(before)

    assert torch.equal(found[0]["x"], found[1]["x"])
    assert not torch.equal(found[0]["x"], found[0]["y"])


def test_nothing_to_make_smooth() -> None:
    """The cells would be those of noise over again: they are unsupported, and say why."""
    with pytest.raises(Unsupported, match=r"usual inputs: none of them \(x \(4, 3\) float32\) is a picture"):
        smoothed({"x": noise(4, 3)})


@pytest.mark.parametrize("name", MODELS)
def test_models_of_this_project(name: str) -> None:
    """What there is to make smooth is made so, in the latency too where it has room; targets stay as they are."""
    usual, smooth = (
        load_case(ROOT / "benchmarks" / "models" / f"{name}.py", "tiny", inputs=inputs)
        for inputs in ("noise", "smooth")
    )

    assert not torch.equal(usual.inputs[MODELS[name]], smooth.inputs[MODELS[name]])
    assert all(torch.equal(usual.targets[target], smooth.targets[target]) for target in usual.targets)
    if name in {"sd_unet", "resnet50"}:
        first = torch.stack([smooth.inputs[MODELS[name]][0].flatten(), smooth.latency[MODELS[name]].flatten()])
        assert first.corrcoef()[0, 1] > 0.99


def test_each_has_its_place_in_the_cache() -> None:
    """What was prepared for noise keeps the name that it had before there was anything else."""
    model = Model.from_file(ROOT / "tests" / "project" / "mlp.py")
    usual = Workload(model, "tiny", "seeded")

    assert usual.key() == Workload(model, "tiny", "seeded", inputs="noise").key()
    assert usual.key() != Workload(model, "tiny", "seeded", inputs="smooth").key()


@long
def test_a_run_with_both(project: Project) -> None:
    """Each is a cell with a table of its own, and a command that runs it again."""
    result = project.run("--inferena-inputs=noise,smooth", "-m", "latency or inference", "--inferena-report=md:report")
    found = results.read(project.journals()[-1]).records

    result.assert_outcomes(passed=4, deselected=4)
    assert [("mlp-fake-numeric", "noise")] * 2 + [("mlp-fake-numeric-smooth", "smooth")] * 2 == [
        (record.id, record.inputs) for record in found
    ]
    assert found[0].hashes["inputs"] != found[2].hashes["inputs"]
    assert found[0].extra["workload"] != found[2].extra["workload"]
    assert "test_latency[mlp-fake-numeric-smooth]" in found[-1].command
    assert "--inferena-inputs=noise,smooth" in found[-1].command
    assert "## Tiny MLP, smooth inputs\n" in (project.path / "report").read_text()


def test_in_a_test_of_ones_own(project: Project) -> None:
    """They are chosen as the batch is; a word that is none is told."""
    project.write("test_own.py", OWN)
    project.write("test_wrong.py", OWN.replace('"smooth")', '"smoth")'))

    project.run("test_own.py").assert_outcomes(passed=1)
    project.run("test_wrong.py").stdout.fnmatch_lines(
        ["*no inputs is named 'smoth'; did you mean 'smooth'? there are noise, smooth"]
    )


@pytest.mark.parametrize("given", ["smoth", "noise,", ""])
def test_no_such_inputs(project: Project, given: str) -> None:
    """One line says which there are, before anything is collected."""
    result = project.run(f"--inferena-inputs={given}")

    assert 4 == result.ret
    result.stderr.fnmatch_lines([f"*--inferena-inputs={given}: there are noise, smooth, with commas between them"])


@long
def test_a_fault_that_noise_hides(project: Project) -> None:
    """An engine whose gradient of an embedding is the last that a token got, not their sum: no token comes twice."""
    shutil.copytree(ROOT / "adapters" / "jax", project.path / "jax", ignore=shutil.ignore_patterns("__pycache__"))
    project.append("jax/adapter.py", OVERWRITES)
    project.write("models/text.py", TEXT)
    project.run("-m", "text and xla and training", "--inferena-inputs=noise,smooth", "--benchmark-disable", fast=False)
    usual, smooth = project.journal()

    assert ("pass", "fail") == (usual.outcome, smooth.outcome)
    assert "grad:words.weight" in smooth.reason


@pytest.mark.parametrize("inputs", ["noise", "smooth"])
def test_a_cell_is_explained_with_its_own(inputs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command that stands under a FAIL leads to them, by the cell's name alone."""
    cell = Cell(
        model="resnet50", framework="jax", backend="xla", device="cpu", metric="training", threads=1, inputs=inputs
    )
    asked = []

    def run(command: list[str], *, check: bool) -> subprocess.CompletedProcess[str]:
        assert not check
        asked.append(json.loads(command[-1]))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(explain, "subprocess", SimpleNamespace(run=run))
    cli.main(shlex.split(cell.explain)[1:])

    assert [(inputs, "training")] == [(request["inputs"], request["metric"]) for request in asked]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What became of the five models' inference, in one run."""
    file = tmp_path_factory.mktemp("smooth") / "journal.jsonl"
    chosen = [f"benchmarks/test_inference.py::test_inference[{name}]" for name in CELLS]
    options = (
        "--inferena-size=tiny --inferena-threads=1 --benchmark-disable --inferena-inputs=smooth -p no:cacheprovider"
    )
    command = [sys.executable, "-m", "pytest", *chosen, *options.split(), f"--inferena-results={file}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert file.exists(), done.stdout[-4000:] + done.stderr[-2000:]
    return {record.id: f"{record.outcome}: {record.reason}" for record in results.read(file).records}


@long
@pytest.mark.parametrize("name", CELLS)
def test_engines_pass_with_them(outcomes: dict[str, str], name: str) -> None:
    """They compute the five models' inference as PyTorch does."""
    assert "pass: " == outcomes[name]
