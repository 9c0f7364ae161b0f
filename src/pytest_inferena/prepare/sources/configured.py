"""Inputs and labels from a model's configuration, seeded, for modules of transformers, timm and torchvision."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pytest_inferena.prepare.case import Case
from pytest_inferena.prepare.structure import called, returned

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from pytest_inferena.prepare.sources.wanted import Wanted

PICTURES = "it takes pictures"
BATCH, LENGTH, SECOND = 4, 128, 16_000
"""Elements of a batch; tokens; samples of sound."""
SPECIAL = ("pad_token_id", "bos_token_id", "eos_token_id", "sep_token_id", "cls_token_id", "mask_token_id",
           "decoder_start_token_id", "image_token_id")  # fmt: skip
IGNORED = -100
"""The label of what counts for nothing."""


def case_of(module: nn.Module, wanted: Wanted) -> Case:
    """The case of a module that has a configuration.

    All inputs are tried that its forward takes and that the configuration says enough of, then the main one alone. The
    loss is the module's own if it runs with labels.

    Raises:
        ValueError: it runs with none of them.
        Unsupported: it has no length that can be set, or less room, and one is asked for.
    """
    config: Any = getattr(module, "config", None)
    if config is None:
        wanted.refuse(type(module).__name__, "seq", remedy=PICTURES)
        return Case(module, image(wanted.batch or BATCH, *module.default_cfg["input_size"]))
    made = _Configured(module, config, wanted)
    failed: Exception | None = None
    module.eval()
    for inputs in made.inputs():
        try:
            _run(module, inputs)
        except Exception as error:  # noqa: BLE001 - a model's code may raise anything; the last is told
            failed = error
            continue
        labels = made.labels(inputs)
        if labels and _has_loss(module, {**inputs, **labels}):
            return Case(module, inputs, targets=labels, loss="loss")
        return Case(module, inputs)
    if failed is None:
        names = ", ".join(inspect.signature(module.forward).parameters)
        raise ValueError(
            f"no input of {type(module).__name__} could be made from its configuration; its forward takes {names}: "
            "write a callable that returns Case(module, inputs), and name that"
        )
    raise ValueError(
        f"{type(module).__name__} does not run with inputs made from its configuration: {type(failed).__name__}: "
        f"{failed}; write a callable that returns Case(module, inputs), and name that"
    ) from failed


def image(*shape: int) -> Tensor:
    """Smooth pictures and noise on them: noise alone looks alike to a network that averages."""
    *_, height, width = shape
    random = np.random.default_rng(0)
    waves = random.uniform(1, 4, (*shape[:-2], 2, 1, 1))
    y, x = np.linspace(0, 1, height)[:, None], np.linspace(0, 1, width)[None]
    smooth = np.sin(2 * np.pi * (waves[..., 0, :, :] * y + waves[..., 1, :, :] * x))
    return torch.from_numpy((smooth + 0.3 * random.standard_normal(shape)).astype(np.float32))


def _run(module: nn.Module, arguments: dict[str, Any]) -> dict[str, Tensor]:
    with torch.no_grad():
        return returned(called(module, arguments))


def _has_loss(module: nn.Module, arguments: dict[str, Any]) -> bool:
    try:
        loss = _run(module, arguments).get("loss")
    except Exception:  # noqa: BLE001 - a model's code may raise anything; it is measured with another loss
        return False
    return loss is not None and loss.ndim == 0


class _Configured:
    """What a forward of transformers takes, as far as its configuration says it."""

    def __init__(self, module: nn.Module, config: Any, wanted: Wanted) -> None:
        self.config, self.name, self.wanted = config, type(module).__name__, wanted
        self.takes = inspect.signature(module.forward).parameters
        self.main = getattr(module, "main_input_name", "")
        self.random = np.random.default_rng(0)
        # a minute of sound makes a long step
        self.batch = wanted.batch or (1 if self.main == "input_features" else BATCH)

    def of(self, name: str, default: Any = None) -> Any:
        """A value of the configuration, or of one of its parts."""
        parts = (getattr(self.config, part, None) for part in ("text_config", "vision_config", "audio_config"))
        for config in (self.config, *parts):
            if (value := getattr(config, name, None)) is not None:
                return value
        return default

    def inputs(self) -> Iterator[dict[str, Any]]:
        """What to try, in this order."""
        made = {name: value for name in self.takes if (value := self._input(name)) is not None}
        if not {"input_ids", "decoder_input_ids", "input_features"} & made.keys():
            self.wanted.refuse(self.name, "seq", remedy="its inputs are of one size")
        if "input_ids" in made and "attention_mask" in self.takes:
            made |= self._masked(made)
        among_others = "kwargs" in self.takes and self.of("use_cache")
        constants = {"use_cache": False} if "use_cache" in self.takes or among_others else {}
        if made:
            yield made | constants
        alone = {name: value for name, value in made.items() if name in {self.main, "decoder_input_ids"}}
        if alone and alone.keys() < made.keys():
            yield alone | constants

    def labels(self, inputs: dict[str, Any]) -> dict[str, Tensor]:
        """Labels for a class's own loss, by what its name says that it is for."""
        ids = inputs.get("decoder_input_ids", inputs.get("input_ids"))
        if self.name.endswith("QuestionAnswering") and ids is not None:
            return {name: self._numbers(ids.shape[1], len(ids)) for name in ("start_positions", "end_positions")}
        if "labels" not in self.takes:
            return {}
        if self.name.endswith(("ForCausalLM", "LMHeadModel", "ForMaskedLM", "ForConditionalGeneration")):
            made = None if ids is None else self._words(ids, inputs)
        else:
            made = self._kinds(ids)
        return {} if made is None else {"labels": made}

    def _words(self, ids: Tensor, inputs: dict[str, Any]) -> Tensor:
        """Token ids; what is padded counts for nothing."""
        labels, mask = self._ids(*ids.shape), inputs.get("attention_mask")
        if mask is not None and mask.shape == labels.shape and "decoder_input_ids" not in inputs:
            labels = torch.where(mask > 0, labels, IGNORED)
        return labels

    def _kinds(self, ids: Tensor | None) -> Tensor | None:
        """Kinds of elements, tokens or pixels."""
        kinds = self.of("num_labels", 0)
        if self.name.endswith("TokenClassification") and ids is not None:
            return self._numbers(kinds, *ids.shape)
        if self.name.endswith("MultipleChoice") and ids is not None:
            return self._numbers(ids.shape[1], len(ids))
        if self.name.endswith("NextSentencePrediction"):
            return self._numbers(2, self.batch)
        if self.name.endswith("SemanticSegmentation"):
            return self._numbers(kinds, self.batch, *self._size())
        if self.name.endswith("Classification") and kinds > 1:
            self.config.problem_type = "single_label_classification"
            return self._numbers(kinds, self.batch)
        return None

    def _input(self, name: str) -> Tensor | None:
        if name in {"input_ids", "decoder_input_ids"} and self.of("vocab_size"):
            several = (2,) if self.name.endswith("MultipleChoice") else ()
            return self._ids(self.batch, *several, self._length())
        if name == "pixel_values" and self.of("image_size"):
            frames = (self.of("num_frames"),) if self.of("num_frames") else ()
            return image(self.batch, *frames, self.of("num_channels", 3), *self._size())
        if name == "input_values":
            shape = (self.of("max_length"), self.of("num_mel_bins")) if self.of("num_mel_bins") else (SECOND,)
            return self._noise(self.batch, *shape)
        if name == "input_features":
            if self.of("max_source_positions") and self.of("num_mel_bins"):
                return self._noise(self.batch, self.of("num_mel_bins"), 2 * self.of("max_source_positions"))
            if mels := self.of("feature_projection_input_dim") or self.of("input_feat_per_channel"):
                return self._noise(self.batch, self.wanted.seq or LENGTH, mels)
        if name == "past_values" and self.of("context_length"):
            return self._noise(self.batch, self.of("context_length"), self.of("num_input_channels", 1))
        return None

    def _masked(self, made: dict[str, Any]) -> dict[str, Tensor]:
        """The mask: the last element of the batch is shorter than the others by a quarter, and padded."""
        ids = made["input_ids"]
        mask = torch.ones_like(ids)
        if getattr(self.config, "is_encoder_decoder", False) or self.of("pad_token_id") is not None:
            mask[-1, ..., -(ids.shape[-1] // 4) :] = 0
            return {"input_ids": torch.where(mask > 0, ids, self.of("pad_token_id", 0)), "attention_mask": mask}
        return {"attention_mask": mask}

    def _length(self) -> int:
        """Of a text."""
        limits = [self.of(limit) for limit in ("max_position_embeddings", "max_target_positions")]
        # some count from two; -1 stands for none
        most = min(int(limit) - 2 for limit in [*limits, 1 << 40] if limit is not None and limit > 0)
        if self.wanted.seq is not None and self.wanted.seq > most:
            self.wanted.refuse(self.name, "seq", remedy=f"it has places for {most} tokens")
        return self.wanted.seq or min(LENGTH, most)

    def _size(self) -> tuple[int, int]:
        size = self.of("image_size")
        height, width = size if isinstance(size, list | tuple) else (size, size)
        return int(height), int(width)

    def _ids(self, *shape: int) -> Tensor:
        """Token ids without those that mean something to the model."""
        special = {found for name in SPECIAL for found in np.atleast_1d(self.of(name, -1)).tolist()}
        allowed = np.setdiff1d(np.arange(self.of("vocab_size")), [*special])
        return torch.from_numpy(self.random.choice(allowed, shape))

    def _numbers(self, below: int, *shape: int) -> Tensor:
        return torch.from_numpy(self.random.integers(0, below, shape))

    def _noise(self, *shape: int) -> Tensor:
        return torch.from_numpy(self.random.standard_normal(shape, dtype=np.float32))
