"""What a training step needs of ExecuTorch beside its own lowering of inference.

XNNPACK takes weights of convolutions only where they are constants, and those of a step change: they are products of
matrices here, on images that lie channels last. And its partitioner compares all parts with all others: it had not
ended on SmolLM2's graph of gradients after 8 minutes. Here parts are found in two or three walks over the graph.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from torch.fx.passes.infra.partitioner import Partition

from pytest_inferena import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.export import ExportedProgram


class Staged(XnnpackPartitioner):
    """Puts an operator into the first part that can hold it: parts then depend on earlier parts alone."""

    def generate_partitions(self, ep: ExportedProgram) -> list[Partition]:
        """One part for each stage: what XNNPACK can run once the operators between two stages have run."""
        groups: list[list[torch.fx.Node]] = self.get_matched_nodes_from_configs(ep)
        group_of = {node: group for group in groups for node in group}
        stages: dict[torch.fx.Node, int] = {}
        calls = [node for node in ep.graph.nodes if node.op == "call_function"]
        for _ in calls:  # a group is as late as its latest, and so are those after it
            known = dict(stages)
            for node in calls:
                group = group_of.get(node, [])
                inputs = [one for one in node.all_input_nodes if one in stages]
                before = [stages[one] + bool(group and one not in group_of) for one in inputs]
                stages[node] = max([0, *before, *(stages[one] for one in group if one in stages)])
            if stages == known:
                break
        parts: dict[int, list[torch.fx.Node]] = {}
        for group in groups:
            parts.setdefault(max(stages.get(node, 0) for node in group), []).extend(group)
        return [Partition(id=stage, nodes=nodes) for stage, nodes in sorted(parts.items())]


def matmul(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """As batches of matrices, the one product whose operands XNNPACK takes from a step."""
    batch = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    left, right = (
        (x if x.shape[:-2] == batch else x.expand(*batch, *x.shape[-2:])).reshape(-1, *x.shape[-2:]) for x in (a, b)
    )
    return torch.bmm(left, right).reshape(*batch, a.shape[-2], b.shape[-1])


def columns(x: torch.Tensor, kernel: list[int], stride: list[int], dilation: list[int], turned: bool) -> torch.Tensor:
    """What lies in each window of (B, H, W, C), row after row, as (B, H', W', windows · C)."""
    size = [(x.shape[1 + a] - dilation[a] * (kernel[a] - 1) - 1) // stride[a] + 1 for a in (0, 1)]
    images = phases(x, stride)
    cells = []
    for place in itertools.product(*map(range, kernel)):
        (top, row), (left, column) = (divmod(dilation[a] * place[a], stride[a]) for a in (0, 1))
        cells.append(images[row, column][:, top : top + size[0], left : left + size[1]])
    return torch.cat(cells[::-1] if turned else cells, -1) if len(cells) > 1 else cells[0]


def phases(x: torch.Tensor, stride: list[int]) -> dict[tuple[int, int], torch.Tensor]:
    """Every stride-th row and column of (B, H, W, C), by the first of them: XNNPACK cuts without steps only."""
    if stride == [1, 1]:
        return {(0, 0): x}
    x = padded(x, [0, 0], [-x.shape[1 + a] % stride[a] for a in (0, 1)])
    batch, height, width, channels = x.shape
    apart = x.reshape(batch, height // stride[0], stride[0], width // stride[1], stride[1] * channels)
    found = {}
    for row, column in itertools.product(range(stride[0]), range(stride[1])):
        cell = apart[:, :, row : row + 1, :, column * channels : (column + 1) * channels]
        found[row, column] = cell.reshape(batch, height // stride[0], width // stride[1], channels)
    return found


def spread(x: torch.Tensor, stride: list[int]) -> torch.Tensor:
    """Stride - 1 zeros between the cells of (B, H, W, C)."""
    if stride == [1, 1]:
        return x
    batch, height, width, channels = x.shape
    cells = x.reshape(batch, height, 1, width, 1, channels)
    apart = torch.nn.functional.pad(cells, [0, 0, 0, stride[1] - 1, 0, 0, 0, stride[0] - 1])
    wide = apart.reshape(batch, height * stride[0], width * stride[1], channels)
    return wide[:, : (height - 1) * stride[0] + 1, : (width - 1) * stride[1] + 1]


def padded(x: torch.Tensor, start: list[int], end: list[int]) -> torch.Tensor:
    """(B, H, W, C) with zeros around it."""
    if not any(start + end):
        return x
    return torch.nn.functional.pad(x, [0, 0, start[1], end[1], start[0], end[0]])


def convolution(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, stride: list[int], padding: list[int],
    dilation: list[int], transposed: bool, output_padding: list[int], groups: int,
) -> torch.Tensor:  # fmt: skip
    """(B, H, W, C) with weights (K, L, C, O), or (B, T, C); transposed, weights (K, L, O, C).

    Raises:
        Unsupported: the window has more dimensions.
    """
    if x.dim() > 4:
        raise Unsupported("unsupported operator aten.convolution: its kernel has two dimensions")
    if x.dim() == 3:
        x, weight = x[:, None], weight[None]
        stride, padding, dilation, output_padding = [1, *stride], [0, *padding], [1, *dilation], [0, *output_padding]
        return convolution(x, weight, bias, stride, padding, dilation, transposed, output_padding, groups)[:, 0]
    kernel = list(weight.shape[:2])
    edge = [dilation[a] * (kernel[a] - 1) - padding[a] if transposed else padding[a] for a in (0, 1)]
    if groups > 1 or min(edge) < 0:  # its own kernel
        image, weights = x.permute(0, 3, 1, 2), weight.permute(3, 2, 0, 1)
        made = torch.ops.aten.convolution(
            image, weights, bias, stride, padding, dilation, transposed, output_padding, groups
        )
        return made.permute(0, 2, 3, 1)
    if transposed:
        x = padded(spread(x, stride), edge, [edge[a] + output_padding[a] for a in (0, 1)])
        weight, stride = weight.transpose(2, 3), [1, 1]
    else:
        x = padded(x, edge, edge)
    rows = columns(x, kernel, stride, dilation, transposed)
    made = matmul(rows.reshape(1, -1, rows.shape[-1]), weight.reshape(1, rows.shape[-1], -1))
    made = made.reshape(*rows.shape[:-1], -1)
    return made if bias is None else made + bias


def batch_norm(axis: int) -> Callable[..., torch.Tensor]:
    """On stored statistics; channels lie along an axis."""

    def rule(
        x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, mean: torch.Tensor, var: torch.Tensor, eps: float
    ) -> torch.Tensor:
        scale = weight * torch.rsqrt(var + eps)
        shift = bias - mean * scale
        sizes = [-1] if axis == -1 else [-1, *[1] * (x.dim() - 2)]
        return x * scale.reshape(sizes) + shift.reshape(sizes)

    return rule


OPERATORS: dict[str, Callable[..., Any]] = {
    "batch_norm": batch_norm(1),
    "batch_norm_channels_last": batch_norm(-1),
    "convolution_channels_last": convolution,
    "matmul": matmul,
}
"""What XNNPACK would not take of a step, as operators that it takes."""
