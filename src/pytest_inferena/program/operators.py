"""The closed set of operators: every Program is written in these, as docs/program-format.md says.

What torch.export finds beside them is taken apart when the Program is made: by our rules, or by PyTorch's own
decompositions. What neither knows keeps its name, and engines other than PyTorch refuse it by that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

OPERATORS: Mapping[str, str] = {
    "abs": "self",
    "adaptive_avg_pool1d": "self output_size",
    "adaptive_avg_pool2d": "self output_size",
    "add": "self other",
    "amax": "self dim keepdim",
    "any": "self dim keepdim",
    "avg_pool2d": "self kernel_size stride padding ceil_mode count_include_pad divisor_override",
    "batch_norm": "input weight bias running_mean running_var eps",
    "bitwise_and": "self other",
    "bitwise_not": "self",
    "bitwise_or": "self other",
    "cat": "tensors dim",
    "clamp": "self min max",
    "conv1d": "input weight bias stride padding dilation groups",
    "conv2d": "input weight bias stride padding dilation groups",
    "convolution": "input weight bias stride padding dilation transposed output_padding groups",
    "cos": "self",
    "cross_entropy_loss": "self target weight reduction ignore_index label_smoothing",
    "cumsum": "self dim",
    "detach": "self",
    "div": "self other",
    "embedding": "weight indices",
    "eq": "self other",
    "erf": "self",
    "exp": "self",
    "expand": "self size",
    "flip": "self dims",
    "floor_divide": "self other",
    "full": "size fill_value dtype",
    "gather": "self dim index",
    "ge": "self other",
    "gelu": "self approximate",
    "group_norm": "input num_groups weight bias eps",
    "gt": "self other",
    "index": "self indices",
    "index_put": "self indices values accumulate",
    "index_select": "self dim index",
    "layer_norm": "input normalized_shape weight bias eps",
    "le": "self other",
    "linear": "input weight bias",
    "log": "self",
    "log1p": "self",
    "log_softmax": "self dim",
    "logical_and": "self other",
    "logical_not": "self",
    "logical_or": "self other",
    "lt": "self other",
    "matmul": "self other",
    "max_pool2d": "self kernel_size stride padding dilation ceil_mode",
    "max_pool2d_with_indices": "self kernel_size stride padding dilation ceil_mode",
    "maximum": "self other",
    "mean": "self dim keepdim",
    "minimum": "self other",
    "mse_loss": "self target reduction",
    "mul": "self other",
    "native_layer_norm": "input normalized_shape weight bias eps",
    "ne": "self other",
    "neg": "self",
    "pad": "self pad mode value",
    "permute": "self dims",
    "pow": "self exponent",
    "relu": "self",
    "reshape": "self shape",
    "rms_norm": "input normalized_shape weight eps",
    "roll": "self shifts dims",
    "rotary_embedding": "self cos sin",
    "rsqrt": "self",
    "scaled_dot_product_attention": "query key value attn_mask is_causal scale enable_gqa",
    "scatter_add": "self dim index src",
    "sigmoid": "self",
    "silu": "self",
    "sin": "self",
    "slice": "self dim start end step",
    "slice_scatter": "self src dim start end step",
    "softmax": "self dim",
    "sqrt": "self",
    "sub": "self other",
    "sum": "self dim keepdim",
    "tanh": "self",
    "to": "self dtype",
    "upsample_nearest2d": "self output_size",
    "where": "condition self other",
}
"""Operator → its arguments in their order."""

OURS = frozenset({"aten", "prims", "inferena"})
"""The namespaces whose operators a Program knows by their names alone; the last one is that of `autograd.py`."""


def name_of(operator: Any) -> str:
    """A torch operator's name in a Program: ATen's without its namespace, any other with it: `torchvision::nms`.

    `max` and `min` of two tensors are no reductions.
    """
    namespace, _, name = str(operator._schema.name).partition("::")
    if namespace == "aten" and name in {"max", "min"} and operator._overloadname == "other":
        return f"{name}imum"
    return name if namespace in OURS else f"{namespace}::{name}"
