from __future__ import annotations

import io
import json
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file
from tests.sources import case_of, trained
from torch import nn

from pytest_inferena.collect.source import Source
from pytest_inferena.prepare.attempts import Attempts, failure
from pytest_inferena.prepare.complete import found_out
from pytest_inferena.prepare.entries import entries
from pytest_inferena.prepare.sources import library, load_case

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BERT = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 60,
    "max_position_embeddings": 12,
}  # fmt: skip


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that transformers has written."""
    from transformers import BertConfig, BertForMaskedLM

    folder = tmp_path_factory.mktemp("checkpoints") / "My-Bert"
    torch.manual_seed(3)
    BertForMaskedLM(BertConfig(**BERT)).save_pretrained(folder)
    return folder


@pytest.fixture
def broken(bert: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    folder = tmp_path / "broken"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes((bert / name).read_bytes())
    return folder


def test_a_folder_of_transformers(bert: Path) -> None:
    """The class that the configuration names, its weights, its own loss, and inputs that mean something."""
    case, model = case_of(f"hf:{bert}", bert)
    ids, mask = case.inputs["input_ids"], case.inputs["attention_mask"]

    assert ("My-Bert", "own") == (model.title, model.usual_weights)
    assert "BertForMaskedLM" == found_out(case, model)["module"]
    assert ("its own, of labels", "token", 40) == tuple(
        found_out(case, model)[name] for name in ("loss", "unit", "items")
    )
    assert bool((ids[mask > 0] > 0).all())
    assert ids.max() < 60
    assert [10, 10, 10, 8] == mask.sum(1).tolist()
    assert ["inference", "latency", "training"] == trained(case)


def test_a_folder_without_weights_gets_seeded_ones(broken: Path) -> None:
    """A configuration is enough."""
    (broken / "model.safetensors").unlink()
    case, model = case_of(f"hf:{broken}", broken)

    assert ("seeded", "BertForMaskedLM") == (model.usual_weights, type(case.module).__name__)


def _no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def _unknown(folder: Path) -> None:
    _changed(folder, architectures=["BertForMindReading"])


def _wide(folder: Path) -> None:
    _changed(folder, vocab_size=61)


def _deep(folder: Path) -> None:
    _changed(folder, num_hidden_layers=2)


def _foreign(folder: Path) -> None:
    _changed(folder, model_type="nobody_knows")


def _cut(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:100])


def _pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _changed(folder: Path, **changes: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_no_config, r"broken has no config.json; name the folder that save_pretrained\(\) has written"),
        (_unknown, r"names BertForMindReading, which transformers [\d.]+ does not have; install the version"),
        (_foreign, r"cannot make BertForMaskedLM of it: .*nobody_knows"),
        (_wide, r"fit BertForMaskedLM.*of another shape: .*word_embeddings.weight \[60, 16\] instead of \[61, 16\]"),
        (_deep, r"missing: (bert.encoder.layer.1[\w.]+, ){9}bert.encoder.layer.1[\w.]+ and 6 more"),
        (_cut, r"broken: transformers cannot make BertForMaskedLM of it: "),
        (_pickle, r"pytorch_model.bin is a pickle.*convert it: python -c"),
    ],
)  # fmt: skip
def test_a_folder_that_is_no_model(broken: Path, change: Callable[[Path], None], message: str) -> None:
    """One message, which names the file and what to do."""
    change(broken)

    with pytest.raises(ValueError, match=message):
        case_of(f"hf:{broken}", broken)


def test_the_command_that_converts_a_pickle(broken: Path) -> None:
    """It runs, and what it writes is read."""
    file = broken / "model.safetensors"
    before = load_file(file)
    torch.save(before, broken / "pytorch_model.bin")
    file.unlink()
    with pytest.raises(ValueError, match="is a pickle") as refused:
        case_of(f"hf:{broken}", broken)
    _, *arguments = shlex.split(str(refused.value).partition("convert it: ")[2])
    subprocess.run([sys.executable, *arguments], check=True)

    assert before.keys() == load_file(file).keys()


def test_the_hub_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says how to get the folder elsewhere, and names no line of the hub's library."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match="nobody/nothing") as caught:
        load_case(Source.parse("hf:nobody/nothing", tmp_path), "full")
    caught.value.__traceback__ = caught.tb.tb_next  # as in the preparer, where no file of the user's has called it
    assert re.match(r"nobody/nothing is no folder.*hf download nobody/nothing --local-dir", failure(caught.value)[1])


@pytest.mark.parametrize(("said", "name"), [("somebody/my-bert", "my_bert"), ("somebody/my-bert@v1", "my_bert")])
def test_a_revision_of_the_hub(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, name: str
) -> None:
    """It is the newest one that was fetched, or the one that is named, and stands beside what was found out."""
    revision, folder = "0123456789abcdef0123456789abcdef01234567", tmp_path / "models--somebody--my-bert"
    shutil.copytree(bert, folder / "snapshots" / revision)
    (folder / "refs").mkdir()
    for ref in ("main", "v1"):
        (folder / "refs" / ref).write_text(revision)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    case, model = case_of(f"hf:{said}", tmp_path)

    assert (name, revision) == (model.name, found_out(case, model)["revision"])


@pytest.mark.parametrize("text", ["timm:resnet10t", "torchvision:mobilenet_v3_small"])
def test_image_models_by_name(tmp_path: Path, text: str) -> None:
    """They are made without weights, and get a picture of their size."""
    pytest.importorskip(text.partition(":")[0], reason="an optional library")
    case, model = case_of(text, tmp_path)

    assert ("seeded", "image", 4) == (
        model.usual_weights,
        *(found_out(case, model)[name] for name in ("unit", "items")),
    )
    with pytest.raises(ValueError, match=r"has no model .*; did you mean "):
        case_of(f"{text}s", tmp_path)


def test_a_part_of_a_diffusers_pipeline(tmp_path: Path) -> None:
    """Its configuration says the class, and the sizes of sample and text."""
    diffusers = pytest.importorskip("diffusers", reason="an optional library")
    made = diffusers.UNet2DConditionModel(
        sample_size=8, block_out_channels=(8, 8), norm_num_groups=4, layers_per_block=1, cross_attention_dim=12,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        attention_head_dim=4,
    )  # fmt: skip
    made.save_pretrained(tmp_path / "unet")
    case, model = case_of("diffusers:unet", tmp_path)

    assert ("unet", "own") == (model.name, model.usual_weights)
    assert (
        "sample (4, 4, 8, 8) float32, timestep (4,) int64, encoder_hidden_states (4, 77, 12) float32"
        == found_out(case, model)["inputs"]
    )


def test_a_library_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the command that brings it."""
    monkeypatch.setitem(sys.modules, "timm", None)

    with pytest.raises(ValueError, match=r"timm cannot be imported .*; pip install timm"):
        library.needed("timm")


class Net(nn.Module):
    """Rows to rows, and a loss if it is asked for."""

    def __init__(self, *, lossy: bool) -> None:
        super().__init__()
        self.linear, self.lossy = nn.Linear(3, 2), lossy

    def forward(self, x: torch.Tensor) -> Any:
        """Rows (B, 3) to rows (B, 2)."""
        y = self.linear(x)
        return (y.square().mean(), y) if self.lossy else y


@pytest.mark.parametrize("lossy", [False, True])
def test_an_archive(tmp_path: Path, *, lossy: bool) -> None:
    """It has its inputs and its weights; it is trained if it returns a loss."""
    net = Net(lossy=lossy)
    torch.export.save(torch.export.export(net, (torch.ones(2, 3),)), tmp_path / "net.pt2")
    case, model = case_of("net.pt2", tmp_path)

    assert ("net.pt2", "own", lossy) == (model.title, model.usual_weights, case.loss is not None)
    assert torch.equal(net.linear.weight, dict(case.module.named_parameters())["linear.weight"])
    made = entries(case, Attempts())
    assert ["inference", "latency", *(["training"] if lossy else [])] == sorted(made)


def test_an_archive_of_dynamic_shapes(tmp_path: Path) -> None:
    """They are fixed by the inputs that it was exported with."""
    shapes = ({0: torch.export.Dim("batch")},)
    torch.export.save(
        torch.export.export(Net(lossy=False), (torch.ones(4, 3),), dynamic_shapes=shapes), tmp_path / "net.pt2"
    )
    case, _ = case_of("net.pt2", tmp_path)

    assert [(4, 2)] == [
        graph.specs[output].shape for graph, _ in [entries(case, Attempts())["inference"]]
        for output in graph.outputs.values()
    ]  # fmt: skip


def test_an_archive_that_is_cut_off(tmp_path: Path) -> None:
    """One message, which says what may be wrong."""
    file = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(Net(lossy=False), (torch.ones(2, 3),)), file)
    file.write_bytes(file.read_bytes()[:-2000])

    with pytest.raises(ValueError, match=r"net.pt2 is no archive that torch .* can open .*; it may be cut off"):
        case_of("net.pt2", tmp_path)


class Trap:
    """What a full unpickler calls print for."""

    def __reduce__(self) -> Any:
        return print, ("trapped",)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ("data/sample_inputs/model.pt", r"no archive that torch .* can open \(Weights only load failed"),
        ("data/weights/weight_0", r"no archive that torch .* can open \(Weights only load failed"),
        ("data/constants/opaque_obj_0", r"holds data/constants/opaque_obj_0, which runs when it is read"),
        ("data/AOTInductor/model/lib.so", r"holds data/AOTInductor/model/lib.so, which runs when it is read"),
    ],
)
def test_no_code_in_an_archive_runs(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], record: str, message: str
) -> None:
    """Pickles are read for tensors alone; what needs more is refused."""
    file, trapped, pickled = tmp_path / "net.pt2", io.BytesIO(), record.endswith("weight_0")
    torch.export.save(torch.export.export(Net(lossy=False), (torch.ones(2, 3),)), file)
    torch.save(Trap(), trapped)
    with zipfile.ZipFile(file) as archive:
        records = {one.filename.partition("/")[2]: archive.read(one) for one in archive.infolist()}
    records[record] = trapped.getvalue()
    config = "data/weights/model_weights_config.json"
    if pickled:
        records[config] = records[config].replace(b'"use_pickle": false', b'"use_pickle": true')
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in records.items():
            archive.writestr(f"net/{name}", content)

    with pytest.raises(ValueError, match=message):
        case_of("net.pt2", tmp_path)
    assert "trapped" not in capfd.readouterr().out
