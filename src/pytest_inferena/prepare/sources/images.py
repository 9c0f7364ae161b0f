"""Image models by their name in timm or torchvision."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from pytest_inferena.prepare.case import Case
from pytest_inferena.prepare.sources.configured import BATCH, PICTURES, case_of, image
from pytest_inferena.prepare.sources.library import needed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_inferena.collect.source import Source
    from pytest_inferena.prepare.sources.wanted import Wanted

SIDE = 224
"""Height and width of an image where the library does not say it."""
FRAMES = 8


def load(source: Source, wanted: Wanted) -> Case:
    """Make it, with a picture of the size that it was trained on. Nothing is downloaded.

    Raises:
        ValueError: the library is missing, or has no model of that name.
        Unsupported: a length is asked for.
    """
    if source.kind == "timm":
        timm = needed("timm")
        if not timm.is_model(source.place.partition(".")[0]):
            raise _unknown(source, timm.list_models())
        module = timm.create_model(source.place, pretrained=False)
        case = case_of(module, wanted)
        case.hub = module.default_cfg.get("hf_hub_id")
        return case
    models = needed("torchvision").models
    if source.place not in models.list_models():
        raise _unknown(source, models.list_models())
    weights = models.get_model_weights(source.place)
    trained: Any = next(iter(weights)).transforms() if len(weights) else None
    crop = getattr(trained, "crop_size", None) or getattr(trained, "resize_size", None) or [SIDE]
    frames = (FRAMES,) if source.place in models.list_models(models.video) else ()
    module = (
        models.get_model(source.place, weights=None, weights_backbone=None)
        if _has_backbone(models, source.place)
        else models.get_model(source.place, weights=None)
    )
    wanted.refuse(str(source), "seq", remedy=PICTURES)
    return Case(module, image(wanted.batch or BATCH, 3, *frames, crop[0], crop[-1]))


def _has_backbone(models: Any, name: str) -> bool:
    """Whether a model is built on another, which would be downloaded."""
    return name in {*models.list_models(models.detection), *models.list_models(models.segmentation)}


def _unknown(source: Source, known: Iterable[str]) -> ValueError:
    near = difflib.get_close_matches(source.place, known, 3)
    hint = f"did you mean {', '.join(near)}?" if near else f"{source.kind}.list_models() lists them"
    return ValueError(f"{source.kind} has no model {source.place}; {hint}")
