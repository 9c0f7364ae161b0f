"""The training entry as one graph of forward and backward, for engines without autograd.

PyTorch's autograd derives the gradients; the operators are core ATen's, the documented second set.
What core ATen leaves as a backward operator of its own is spelled by forward ones here, so that an
engine needs no operator that only training has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch._decomp import core_aten_decompositions, get_decompositions
from torch.fx.experimental.proxy_tensor import make_fx

from pytest_inferena.program.capture import NotExportable, lower
from pytest_inferena.worker.aten import to_module

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from pytest_inferena.program.canonical import Graph
    from pytest_inferena.worker.program import Entry

aten = torch.ops.aten


def joint(training: Entry, parameters: Mapping[str, torch.nn.Parameter], inputs: Mapping[str, Tensor]) -> Graph:
    """Derive the gradients of a training entry.

    Args:
        training: the entry, whose only output is the scalar `loss`.
        parameters: by name; gradients are made for those that require them.
        inputs: the entry's inputs and targets by name.

    Returns:
        a graph whose outputs are `loss` and `grad:PARAMETER`.

    Raises:
        NotExportable: autograd cannot trace it.
    """
    module = to_module(training, parameters)
    names = [name for name in training.parameters if parameters[name].requires_grad]
    held = {id(parameter): str(key) for key, parameter in module.named_parameters()}
    keys = [held[id(parameters[name])] for name in names]
    frozen = dict(module.named_parameters()) | dict(module.named_buffers())

    def step(trained: list[Tensor], fixed: dict[str, Tensor], *arguments: Tensor) -> tuple[Tensor | None, ...]:
        values = fixed | dict(zip(keys, trained, strict=True))
        (loss,) = torch.func.functional_call(module, values, arguments)
        return (loss, *torch.autograd.grad(loss, trained, allow_unused=True))

    trained = [parameters[name].detach().requires_grad_() for name in names]
    fixed = {key: value.detach() for key, value in frozen.items() if key not in keys}
    try:
        with torch.nn.attention.sdpa_kernel([torch.nn.attention.SDPBackend.MATH]):
            table = decompositions(safe_softmax=_may_mask_all(training))
            arguments = (trained, fixed, *inputs.values())
            traced = make_fx(step, decomposition_table=table, tracing_mode="fake")(*arguments)
        with torch.no_grad():  # autograd adds in place
            traced = make_fx(torch.func.functionalize(traced), tracing_mode="fake")(*arguments)
    except Exception as error:
        raise NotExportable(
            f"PyTorch cannot trace the gradients of this model: {type(error).__name__}: {str(error)[:300]}; "
            "its joint entry is absent, engines with an autograd of their own are not concerned"
        ) from error
    traced.graph.eliminate_dead_code()
    placeholders = [node.name for node in traced.graph.nodes if node.op == "placeholder"]
    known: list[str | Tensor] = [*names, *_fixed(fixed, held, parameters), *inputs]
    outputs = _drop_none(traced.graph, ("loss", *(f"grad:{name}" for name in names)))
    return lower(traced.graph, dict(zip(placeholders, known, strict=True)), inputs, outputs)


def _fixed(
    fixed: Mapping[str, Tensor], held: Mapping[int, str], parameters: Mapping[str, Tensor]
) -> list[str | Tensor]:
    """Parameters without gradient by their name, constants by their value."""
    frozen = {held[id(value)]: name for name, value in parameters.items() if id(value) in held}
    return [frozen.get(key, value) for key, value in fixed.items()]


def _drop_none(graph: torch.fx.Graph, names: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the results that are tensors; a parameter the loss does not depend on has no gradient."""
    results = next(node for node in graph.nodes if node.op == "output").args[0]
    return tuple(name for name, result in zip(names, results, strict=True) if result is not None)


def _may_mask_all(training: Entry) -> bool:
    """Whether an attention mask may leave a query nothing to attend to."""
    constants = training.arrays("constants")
    masks = [node.arguments.get("attn_mask") for node in training.nodes]
    arrays = [constants.get(mask.name) for mask in masks if mask is not None]
    return any(array is None or array.dtype != bool or not array.any(-1).all() for array in arrays)


def decompositions(*, safe_softmax: bool) -> dict[Any, Callable[..., Any]]:
    """Core ATen's, those of backward operators, and three of our own.

    Without `safe_softmax` a row of attention that is masked altogether would be NaN, not zero; the
    check for it costs a dozen operators a layer.
    """
    table = dict(core_aten_decompositions())
    table |= get_decompositions(
        [
            aten.native_layer_norm, aten.native_layer_norm_backward,
            aten.native_group_norm, aten.native_group_norm_backward,
            aten.native_batch_norm, aten.native_batch_norm_backward, aten._native_batch_norm_legit_no_training,
            aten.embedding_dense_backward, aten.nll_loss_forward, aten.nll_loss_backward,
            aten._softmax_backward_data, aten._log_softmax_backward_data, aten._safe_softmax,
            aten.silu_backward, aten.gelu_backward, aten.threshold_backward, aten.mse_loss_backward,
            aten.select_backward, aten.slice_backward, aten._fused_rms_norm, aten._fused_rms_norm_backward,
        ]
    )  # fmt: skip
    table |= {
        aten.convolution_backward.default: _convolution_backward,
        aten.max_pool2d_with_indices_backward.default: _max_pool2d_backward,
        aten.upsample_nearest2d_backward.default: _upsample_nearest2d_backward,
    }
    if not safe_softmax:
        table[aten._safe_softmax.default] = lambda x, dim, dtype=None: aten._softmax(x, dim, False)  # noqa: ARG005
    for kept in (aten.silu.default, aten.embedding.default):  # engines have these as they are
        table.pop(kept, None)
    return table


def _convolution_backward(
    grad: Tensor, x: Tensor, weight: Tensor, bias_sizes: list[int] | None, stride: list[int], padding: list[int],
    dilation: list[int], transposed: bool, output_padding: list[int], groups: int, mask: list[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:  # fmt: skip
    """The gradients of a convolution are convolutions: transposed for the input, of swapped roles for the weight."""
    del bias_sizes, output_padding
    if transposed or groups != 1:
        raise NotImplementedError("the gradient of a transposed or grouped convolution")
    rank = len(stride)
    grad_x = grad_weight = grad_bias = None
    if mask[0]:
        reach = [dilation[d] * (weight.shape[2 + d] - 1) + 1 for d in range(rank)]
        left = [x.shape[2 + d] - ((grad.shape[2 + d] - 1) * stride[d] - 2 * padding[d] + reach[d]) for d in range(rank)]
        grad_x = aten.convolution(grad, weight, None, stride, padding, dilation, True, left, 1)
    if mask[1]:
        swapped = (x.transpose(0, 1), grad.transpose(0, 1))
        grad_weight = aten.convolution(*swapped, None, dilation, padding, stride, False, [0] * rank, 1).transpose(0, 1)
        for d in range(rank):  # rows beyond the kernel came from a stride that does not divide
            grad_weight = grad_weight.narrow(2 + d, 0, weight.shape[2 + d])
    if mask[2]:
        grad_bias = grad.sum([0, *range(2, 2 + rank)])
    return grad_x, grad_weight, grad_bias


def _max_pool2d_backward(
    grad: Tensor, x: Tensor, kernel_size: list[int], stride: list[int], padding: list[int], dilation: list[int],
    ceil_mode: bool, indices: Tensor,
) -> Tensor:  # fmt: skip
    """Every gradient goes to the place its maximum came from."""
    del kernel_size, stride, padding, dilation, ceil_mode
    batch, channels, height, width = x.shape
    zeros = torch.zeros(batch, channels, height * width, dtype=grad.dtype)
    flat = (tensor.reshape(batch, channels, -1) for tensor in (indices, grad))
    return zeros.scatter_add(2, *flat).reshape(x.shape)


def _upsample_nearest2d_backward(
    grad: Tensor,
    output_size: list[int],
    input_size: list[int],
    scale_h: float | None = None,
    scale_w: float | None = None,
) -> Tensor:
    """Sum over the block that each pixel became."""
    del scale_h, scale_w
    batch, channels, height, width = input_size
    rows, columns = output_size[0] // height, output_size[1] // width
    if (rows * height, columns * width) != tuple(output_size):
        raise NotImplementedError("the gradient of upsampling by a fraction")
    return grad.reshape(batch, channels, height, rows, width, columns).sum([3, 5])
