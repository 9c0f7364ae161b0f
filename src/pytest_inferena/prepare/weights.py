"""Where a model's weights come from: seeded, an installed package, a hub, or a file."""

from __future__ import annotations

import math
import re
import zlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pytest_inferena.prepare.calibrate import RESIDUAL, calibrate, is_even, leave_kinks, size_of, sizes
from pytest_inferena.prepare.structure import to_eval

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from pytest_inferena.prepare.case import Case

EMBEDDING_GAIN = 1.5  # the spread of the logits where an LM head is tied to the embedding
STREAM_SHARE = 0.9  # of the variance behind a join of a U-Net
# Where a U-Net on its way up joins the stream with what was kept on the way down, in this order.
_JOIN = re.compile(r"(^|\.)up_\w+(\.\w+)*\.conv_shortcut\.weight$")
# Where a residual stream runs beside others, or inside a branch of another.
_STREAM = re.compile(r".*\.(encoder|decoder|transformer_blocks)\.")
# Files of these names only: others beside them hold the same weights at other precisions.
_WHOLE = ("model.safetensors", "diffusion_pytorch_model.safetensors")


class WeightsUnavailable(ValueError):  # noqa: N818  it reads as the outcome that it leads to
    """The weights that were asked for are not to be had here; the message says how to get them."""


def resolve_weights(case: Case, source: str) -> str:
    """Load weights into the case's module, strictly, and leave it in eval mode.

    Args:
        case: what to load into.
        source: "own", "seeded", "package", "hub", or the path of a .safetensors file or of a folder with such files.

    Returns:
        Where the weights came from: "own", "seeded", "package: NAME VERSION", "hub: REPOSITORY@REVISION", "path: NAME".

    Raises:
        WeightsUnavailable: the case has no such source, or it cannot be reached.
        ValueError: the tensors found are not those of the module.
    """
    if source == "own":
        to_eval(case.module)
        return source
    if source == "seeded":
        seed_weights(case.module, inputs=case.inputs)
        return "seeded"
    if source == "package":
        label, state = _from_package(case)
    elif source == "hub":
        label, state = _from_hub(case)
    else:
        label, state = f"path: {Path(source).name}", _read(Path(source))
    load_strictly(case.module, state, label)
    return label


def seed_weights(module: nn.Module, seed: int = 0, inputs: Mapping[str, Any] | None = None) -> None:
    """Fill all parameters with scaled normal numbers, each from a stream that is seeded with its name.

    Matrices and kernels are full-rank with standard deviation 1 / sqrt(fan_in), norms are 1 ± 0.1, biases 0 ± 0.1.
    What is added to a residual stream is scaled down by the square root of the number of additions. So every layer
    keeps a share of the result, and rounding errors do not grow with depth. A U-Net on its way up joins the stream
    with skip connections a dozen times. With equal shares the lowest levels, which join first, would be lost.

    Then layers are adjusted to what reaches them, see `pytest_inferena.prepare.calibrate`.

    Args:
        module: left in eval mode; requires_grad stays as it is.
        seed: the seed of all streams.
        inputs: those of the entry to be judged; the noise has their shapes.

    Raises:
        ValueError: the module has batch norm, and no inputs are given.
    """
    to_eval(module)
    additions = Counter(_stream(name) for name, _ in module.named_parameters() if RESIDUAL.search(name))
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            owner = module.get_submodule(name.rpartition(".")[0])
            center, spread = _moments(name, parameter, owner, additions[_stream(name)])
            parameter.copy_(center + spread * _normal(seed, name, tuple(parameter.shape)))
            if _JOIN.search(name):
                _prefer_stream(parameter)
        has_batch_norm = any(isinstance(child, _BatchNorm) for child in module.modules())
        if inputs is not None and has_batch_norm:
            calibrate(module, {name: _noise(seed, name, value) for name, value in inputs.items()})
            if not is_even(module, sizes(module, inputs)):  # what fits noise does not fit the inputs
                calibrate(module, inputs, apart=True)
            leave_kinks(module, inputs)
        elif inputs is not None:
            if not is_even(module, sizes(module, inputs)):
                calibrate(module, inputs)
        elif has_batch_norm:
            raise ValueError("The module has batch norm: pass inputs, which its statistics are calibrated with.")


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], label: str) -> None:
    """Load a state dict. Only the second name of a tied parameter and buffers of integers may be absent.

    Raises:
        ValueError: keys are missing, unexpected or of another shape, or tied tensors differ.
    """
    own = module.state_dict()
    loaded = {own[key].data_ptr() for key in state if key in own}
    missing = [k for k, t in own.items() if k not in state and t.is_floating_point() and t.data_ptr() not in loaded]
    buffers = dict(module.named_buffers())
    unexpected = [k for k, t in state.items() if k not in own and k not in buffers and t.is_floating_point()]
    shapes = [
        f"{key} {list(state[key].shape)} instead of {list(tensor.shape)}"
        for key, tensor in own.items()
        if key in state and state[key].shape != tensor.shape
    ]
    problems = {"missing": missing, "unexpected": unexpected, "of another shape": shapes}
    found = "; ".join(f"{what}: {_some(keys)}" for what, keys in problems.items() if keys)
    if found:
        raise ValueError(f"{label} does not fit the model. {found}. Use the checkpoint of this very model and size.")
    with torch.no_grad():
        for key in own.keys() & state.keys():
            own[key].copy_(state[key])
    for key in own.keys() & state.keys():
        if not torch.equal(own[key], state[key].to(own[key].dtype)):
            raise ValueError(f"{label}: {key} is tied to another tensor in the model and differs from it in the file.")
    to_eval(module)


def _from_package(case: Case) -> tuple[str, Mapping[str, Tensor]]:
    if case.package is None:
        raise WeightsUnavailable(
            "No installable package carries weights of this model; use --inferena-weights=hub, or a path."
        )
    label, state = case.package()
    return f"package: {label}", state


def _from_hub(case: Case) -> tuple[str, Mapping[str, Tensor]]:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    if case.hub is None:
        raise WeightsUnavailable("This model names no hub repository; use --inferena-weights=PATH.")
    try:
        wanted = f"{case.hub_folder}/*.safetensors".lstrip("/")
        others = ["*.fp16.safetensors", "*.non_ema.safetensors"]
        folder = Path(snapshot_download(case.hub, allow_patterns=[wanted], ignore_patterns=others))
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        raise WeightsUnavailable(
            f"{case.hub} cannot be fetched from the hub and is not in its cache ({type(error).__name__}); go online, "
            "or download the repository elsewhere and use --inferena-weights=PATH."
        ) from error
    return f"hub: {case.hub}@{folder.name}", _read(folder / case.hub_folder)


def _read(path: Path) -> dict[str, Tensor]:
    files = [path]
    if path.is_dir():
        whole = [path / name for name in _WHOLE if (path / name).is_file()]
        files = whole or sorted(path.glob("*.safetensors"))
    if not files or not all(file.is_file() and file.suffix == ".safetensors" for file in files):
        raise WeightsUnavailable(f"{path} is neither a .safetensors file nor a folder with such files; name one.")
    state: dict[str, Tensor] = {}
    for file in files:
        part = load_file(file)
        if twice := state.keys() & part.keys():
            raise ValueError(f"{path} holds {_some(sorted(twice))} in more than one file; keep one checkpoint there.")
        state |= part
    return state


def _moments(name: str, parameter: Tensor, owner: nn.Module, additions: int) -> tuple[float, float]:
    """Mean and standard deviation for a parameter, by the kind of module that owns it."""
    gain = 1 / math.sqrt(additions) if RESIDUAL.search(name) else 1.0
    if name.endswith("bias"):
        return 0.0, 0.1
    if parameter.ndim < 2 or "Norm" in type(owner).__name__:
        return gain, 0.1 * gain
    is_kernel = hasattr(owner, "kernel_size")  # (out, in, k, k); everything else is (…, in)
    fan_in = math.prod(parameter.shape[1:]) if is_kernel else parameter.shape[-1]
    return 0.0, (EMBEDDING_GAIN if isinstance(owner, nn.Embedding) else gain) / math.sqrt(fan_in)


def _prefer_stream(kernel: Tensor) -> None:
    """Scale a kernel (out, in, 1, 1) for the stream, which comes first, and for the skip connection behind it."""
    out, both = kernel.shape[:2]
    stream = max(both - out, out)  # the skip connection has `out` channels, or those of the level above
    kernel[:, :stream] *= math.sqrt(STREAM_SHARE * both / stream)
    kernel[:, stream:] *= math.sqrt((1 - STREAM_SHARE) * both / (both - stream))


def _stream(name: str) -> str:
    """Which residual stream a parameter belongs to: "" in a module that has only one."""
    found = _STREAM.match(name)
    return found.group() if found else ""


def _normal(seed: int, name: str, shape: tuple[int, ...]) -> Tensor:
    stream = np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(name.encode())]))
    return torch.from_numpy(np.asarray(np.random.Generator(stream).standard_normal(shape, dtype=np.float32)))


def _noise(seed: int, name: str, x: Any) -> Any:
    """Noise of the size of an input, by powers of two; itself where it has no numbers of floating point."""
    if not isinstance(x, torch.Tensor) or not x.is_floating_point():
        return x
    size = size_of(x)
    return _normal(seed, f"input {name}", tuple(x.shape)) * (2.0 ** round(math.log2(size)) if size else 1.0)


def _some(keys: list[str], most: int = 10) -> str:
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")
