"""What makes the models of the tables. It imports torch, so only the preparer imports it."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pytest_inferena.prepare.sources.configured import image
from pytest_inferena.prepare.sources.library import needed

if TYPE_CHECKING:
    from collections.abc import Mapping

    Made = tuple[nn.Module, tuple[Tensor, ...] | dict[str, Tensor]]


def transformers(name: str, config: Mapping[str, Any]) -> nn.Module:
    """A module with a configuration."""
    kind = getattr(needed("transformers"), name)
    module: nn.Module = kind(kind.config_class(**config))
    return module


def timm(name: str, config: Mapping[str, Any], shape: tuple[int, ...]) -> Made:
    """A classifier and pictures."""
    return needed("timm").create_model(name, num_classes=10, **config), (image(*shape),)


def torchvision(name: str, config: Mapping[str, Any], shape: tuple[int, ...]) -> Made:
    """A network and pictures; its name may begin with that of a module."""
    return attrgetter(name)(needed("torchvision").models)(**config), (image(*shape),)


def diffusers(name: str, config: Mapping[str, Any], inputs: Mapping[str, Any]) -> Made:
    """A part of a pipeline and its inputs by name."""
    return getattr(needed("diffusers"), name)(**config), {key: tensor(value) for key, value in inputs.items()}


def layers(described: tuple[tuple[Any, ...], ...], inputs: tuple[Any, ...]) -> Made:
    """A layer or a sequence of them, and its inputs."""
    made = []
    for name, *arguments in described:
        keywords = arguments.pop() if arguments and isinstance(arguments[-1], dict) else {}
        made.append(getattr(nn, name)(*arguments, **keywords))
    return made[0] if len(made) == 1 else nn.Sequential(*made), tuple(map(tensor, inputs))


def tensor(value: tuple[int, ...] | list[Any]) -> Tensor:
    """Normal numbers of a shape, if it is a tuple; else the list's own numbers."""
    random = torch.Generator().manual_seed(0)
    return torch.tensor(value) if isinstance(value, list) else torch.randn(value, generator=random)
