"""A Program as a torch module: for engines built on PyTorch, and as the reference for all others.

This is the only module of the package that needs torch, and no other module here imports it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from pytest_inferena.worker.format import Ref, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_inferena.worker.format import Argument, Entry, Node


def rotary_embedding(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotate pairs (i, i + half) of x (B, H, S, D) by tables (S, D / 2)."""
    first, second = x.chunk(2, -1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)


def batch_norm(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    mean: torch.Tensor,
    var: torch.Tensor,
    eps: float,
) -> torch.Tensor:
    """Batch norm on stored statistics."""
    return torch.nn.functional.batch_norm(x, mean, var, weight, bias, training=False, eps=eps)


def attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    is_causal: bool,
    scale: float,
    enable_gqa: bool,
) -> torch.Tensor:
    """Scaled dot product attention, (B, H, S, D)."""
    return torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=is_causal, scale=scale, enable_gqa=enable_gqa
    )


def rfft(x: torch.Tensor, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The Fourier transform of real numbers, up to half the frequencies, in two parts; not scaled, as all three."""
    found = torch.fft.rfft(x, dim=dim)
    return found.real, found.imag


def irfft(real: torch.Tensor, imag: torch.Tensor, dim: int, length: int) -> torch.Tensor:
    """Back to real numbers."""
    return torch.fft.irfft(torch.complex(real, imag), length, dim, norm="forward")


def fft(real: torch.Tensor, imag: torch.Tensor, dim: int, inverse: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Of complex numbers, or back."""
    x = torch.complex(real, imag)
    found = torch.fft.ifft(x, dim=dim, norm="forward") if inverse else torch.fft.fft(x, dim=dim)
    return found.real, found.imag


SPELLED: Mapping[str, Callable[..., Any]] = {
    "rotary_embedding": rotary_embedding,
    "batch_norm": batch_norm,
    "scaled_dot_product_attention": attention,
    "full": lambda size, value, dtype: torch.full(size, value, dtype=getattr(torch, dtype)),
    "to": lambda x, dtype: x.to(getattr(torch, dtype)),
    "gelu": lambda x, approximate: torch.nn.functional.gelu(x, approximate=approximate),
    "fft": fft,
    "irfft": irfft,
    "rfft": rfft,
    "group_norm": torch.nn.functional.group_norm,
    "layer_norm": torch.nn.functional.layer_norm,
    "rms_norm": torch.nn.functional.rms_norm,
    "linear": torch.nn.functional.linear,
}
"""Operators whose arguments differ from ATen's, in kind or order. All others are looked up in ATen."""


def operator(node: Node, spelled: Mapping[str, Callable[..., Any]] = SPELLED) -> Callable[..., Any]:
    """The function of a node's operator.

    Raises:
        Unsupported: PyTorch has none of that name.
    """
    if node.operator in spelled:
        return spelled[node.operator]
    namespace, _, name = node.operator.rpartition("::")
    function: Callable[..., Any] | None = getattr(getattr(torch.ops, namespace or "aten"), name, None)
    if function is None:
        raise Unsupported(f"unsupported operator {node.title}, node {node.name}")
    return function


def to_module(
    entry: Entry, parameters: Mapping[str, torch.nn.Parameter], spelled: Mapping[str, Callable[..., Any]] = SPELLED
) -> torch.fx.GraphModule:
    """The entry as a module.

    Args:
        entry: its constants are read from its folder.
        parameters: by name; the module holds these very objects.
        spelled: functions that replace ATen's operators; they take all arguments by position.

    Returns:
        a module that takes the inputs in the entry's order and returns a tuple in the order of `outputs`.
    """
    root = torch.nn.Module()
    graph = torch.fx.Graph()
    nodes: dict[str, torch.fx.Node] = {}
    for index, spec in enumerate(entry.inputs):  # by number: `a.b` and `a_b` would be one identifier, `self` is taken
        nodes[spec.name] = graph.placeholder(f"input_{index}")
    for index, name in enumerate(entry.parameters):
        root.register_parameter(f"parameter_{index}", parameters[name])
        nodes[name] = graph.get_attr(f"parameter_{index}")
    for index, (name, array) in enumerate(entry.arrays("constants").items()):
        root.register_buffer(f"constant_{index}", torch.from_numpy(array))
        nodes[name] = graph.get_attr(f"constant_{index}")
    for node in entry.nodes:
        function = operator(node, spelled)
        arguments = {name: _argument(value, nodes) for name, value in node.arguments.items()}
        keywords = {name: arguments.pop(name) for name in keywords_of(function) if name in arguments}
        made = graph.call_function(function, tuple(arguments.values()), keywords)
        nodes[node.name] = made
        for index, spec in enumerate(node.outputs if len(node.outputs) > 1 else ()):
            nodes[spec.name] = graph.call_function(_item, (made, index))
    graph.output(tuple(nodes[name] for name in entry.outputs.values()))
    graph.eliminate_dead_code()
    return torch.fx.GraphModule(root, graph)


def keywords_of(function: Any) -> set[str]:
    """The arguments that ATen takes by name only. The functions in `SPELLED` take all by position."""
    if not isinstance(function, torch._ops.OpOverloadPacket):
        return set()
    schemas = [getattr(function, overload)._schema for overload in function.overloads()]
    return {argument.name for schema in schemas for argument in schema.arguments if argument.kwarg_only} - {"out"}


def _item(values: Any, index: int) -> Any:
    return values[index]


def _argument(value: Argument, nodes: Mapping[str, torch.fx.Node]) -> Any:
    if isinstance(value, Ref):
        return nodes[value.name]
    if isinstance(value, list):
        return [_argument(item, nodes) for item in value]
    return value
