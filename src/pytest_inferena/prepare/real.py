"""Complex parameters as pairs: what a Program holds of them, what is trained and judged, is a real tensor."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


class AsComplex(nn.Module):
    """A parameter with a last dimension of 2, read as complex numbers."""

    def forward(self, pairs: Tensor) -> Tensor:
        """What the module's code sees."""
        return torch.view_as_complex(pairs)

    def right_inverse(self, value: Tensor) -> tuple[Tensor]:
        """What the module holds: in a tuple, as one tensor alone would have to keep its dtype."""
        return (torch.view_as_real(value.detach().resolve_conj()).clone(),)


def hold_pairs(module: nn.Module) -> None:
    """Let a module hold its complex parameters as pairs; tied ones come apart."""
    for part in [*module.modules()]:
        for name, parameter in [*part.named_parameters(recurse=False)]:
            if parameter.is_complex():
                parametrize.register_parametrization(part, name, AsComplex(), unsafe=True)
