"""Folders of Hugging Face: config.json says which class of transformers or diffusers the model is."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pytest_inferena.files import read_plain
from pytest_inferena.prepare.case import Case
from pytest_inferena.prepare.sources.configured import BATCH, PICTURES, case_of, image
from pytest_inferena.prepare.sources.library import needed

if TYPE_CHECKING:
    from torch import nn

    from pytest_inferena.collect.source import Source
    from pytest_inferena.prepare.sources.wanted import Wanted

CONFIG = 4 << 20
"""Bytes that a config.json has at most."""
NAMED = 10
"""How many weights an error names."""
PROMPT = 77
"""Tokens of the text that a picture is made for."""
CONVERT = (
    'python -c "import torch; from safetensors.torch import save_file as s; s({{k: v.clone().contiguous() for k, v in '
    "torch.load('{pickle}', weights_only=True).items()}}, '{target}', {{'format': 'pt'}})\""
)


def load(source: Source, wanted: Wanted) -> Case:
    """Make the model of a folder, or of the hub's repository of that name, with its weights if it has some.

    Raises:
        ValueError: folder, configuration or weights do not make a model; the message says what to do.
        Unsupported: a length is asked for that it does not have.
    """
    library = needed("transformers" if source.kind == "hf" else "diffusers")
    folder = source.path or _fetched(source.place)
    config = _config(folder)
    if source.kind == "hf":
        names = config.get("architectures") or []
        kind = getattr(library, str(names[0]), None) if names else library.AutoModel
    else:
        names = [config.get("_class_name")]
        kind = getattr(library, str(names[0]), None)
    if kind is None or not hasattr(kind, "from_pretrained"):
        raise ValueError(
            f"{folder / 'config.json'} names {names[0]}, which {library.__name__} {library.__version__} does not have; "
            "install the version that the model was made for, or name a callable of your own that returns the module"
        )
    module = _made(library, kind, folder)
    case = case_of(module, wanted) if source.kind == "hf" else _pictured(module, wanted)
    case.revision = "" if source.path else folder.name
    return case


def _fetched(name: str) -> Path:
    """A folder of the hub's cache, which is named after the revision."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    place, _, revision = name.partition("@")
    wanted = ["config.json", "*.safetensors", "*.safetensors.index.json"]
    try:
        return Path(snapshot_download(place, revision=revision or None, allow_patterns=wanted))
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        raise ValueError(
            f"{name} is no folder here, and cannot be fetched from the hub ({type(error).__name__}); where there is a "
            f"network: hf download {place} --local-dir FOLDER; then --inferena-model=hf:FOLDER"
        ) from None  # no line of the hub's library tells more


def _config(folder: Path) -> dict[str, Any]:
    file = folder / "config.json"
    if not file.is_file():
        raise ValueError(f"{folder} has no config.json; name the folder that save_pretrained() has written")
    try:
        found = json.loads(read_plain(file, CONFIG))
    except ValueError as error:
        raise ValueError(f"{file} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{file} holds no object")
    return found


def _made(library: Any, kind: Any, folder: Path) -> nn.Module:
    """The module, with the weights of the folder; without any if it has none."""
    pickles = sorted(folder.glob("*pytorch_model*.bin"))
    has_weights = any(folder.glob("*.safetensors"))
    if pickles and not has_weights:
        command = CONVERT.format(pickle=pickles[0], target=pickles[0].with_name(_target(library)))
        raise ValueError(f"{pickles[0]} is a pickle, which runs what is written in it; convert it: {command}")
    of_transformers = library.__name__ == "transformers"
    try:
        config = (
            library.AutoConfig.from_pretrained(folder, trust_remote_code=False)
            if of_transformers
            else kind.load_config(folder)
        )
        if not has_weights:
            return kind.from_config(config) if not of_transformers or kind is library.AutoModel else kind(config)
        own = {"dtype": torch.float32, "ignore_mismatched_sizes": True} if of_transformers else {}
        module, info = kind.from_pretrained(folder, use_safetensors=True, output_loading_info=True, **own)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ValueError(f"{folder}: {library.__name__} cannot make {kind.__name__} of it: {reason[:500]}") from error
    _require_all(module, info, folder)
    return module


def _target(library: Any) -> str:
    return "model.safetensors" if library.__name__ == "transformers" else "diffusion_pytorch_model.safetensors"


def _require_all(module: nn.Module, info: dict[str, Any], folder: Path) -> None:
    """Refuse weights that are not those of the module.

    Raises:
        ValueError: names are missing, unknown, or of another shape.
    """
    shapes = [f"{name} {[*file]} instead of {[*own]}" for name, file, own in info.get("mismatched_keys", ())]
    problems = {
        "missing": sorted(info.get("missing_keys", ())), "unexpected": sorted(info.get("unexpected_keys", ())),
        "of another shape": sorted(shapes),
    }  # fmt: skip
    found = [
        f"{what}: {', '.join(names[:NAMED])}" + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
        for what, names in problems.items() if names
    ]  # fmt: skip
    if found:
        raise ValueError(
            f"the weights in {folder} do not fit {type(module).__name__}. {'; '.join(found)}. Mend `architectures` or "
            "the sizes in config.json, or use the checkpoint of this very model."
        )


def _pictured(module: nn.Module, wanted: Wanted) -> Case:
    """The case of a part of a diffusers pipeline, by what its forward takes."""
    wanted.refuse(type(module).__name__, "seq", remedy=PICTURES)
    batch = wanted.batch or BATCH
    config: Any = module.config
    takes = inspect.signature(module.forward).parameters
    side = config.get("sample_size") or config.get("image_size") or 32
    height, width = side if isinstance(side, list | tuple) else (side, side)
    picture = image(batch, config.get("in_channels") or 3, height, width)
    inputs: dict[str, Any] = {name: picture for name in ("sample", "hidden_states", "x") if name in takes}
    random = torch.Generator().manual_seed(0)
    if "timestep" in takes:
        inputs["timestep"] = torch.tensor([10, 200, 500, 900]).repeat(-(-batch // BATCH))[:batch]
    if "encoder_hidden_states" in takes and (width := config.get("cross_attention_dim")):
        inputs["encoder_hidden_states"] = torch.randn(batch, PROMPT, int(width), generator=random)
    if "class_labels" in takes and (kinds := config.get("num_embeds_ada_norm")):
        inputs["class_labels"] = torch.randint(kinds, (batch,), generator=random)
    return Case(module, inputs)
