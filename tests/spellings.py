"""Functions that a model may hold, by family, with the operators that a Program spells them by."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable


class Inputs(NamedTuple):
    """Numbers (2, 3, 4), integers of that shape, and an image (2, 4, 6, 8)."""

    x: Tensor
    i: Tensor
    m: Tensor


if TYPE_CHECKING:
    Function = Callable[[Inputs], Tensor]

MASK = torch.ones(3, 3, dtype=torch.bool).triu()
ONES = torch.ones(6, 1, 2)


def _write_in_place(x: Tensor) -> Tensor:
    y = x.clone()
    y[:, 1] = 0.0
    y[:, :, 2:] += 1
    return y


CASES: dict[str, dict[str, tuple[Function, str]]] = {
    "shapes": {
        "view": (lambda a: a.x.view(6, 4), "reshape"),
        "flatten": (lambda a: a.x.flatten(), "reshape"),
        "squeeze": (lambda a: a.x[:1].squeeze(0), "slice reshape"),
        "unflatten": (lambda a: a.x.unflatten(-1, (2, 2)), "reshape"),
        "reshape_of_reshape": (lambda a: a.x.reshape(6, 4).reshape(2, 12), "reshape"),
        "reshape_back": (lambda a: a.x.reshape(6, 4).reshape(2, 3, 4), ""),
        "identity": (lambda a: a.x.contiguous().clone(), ""),
        "transpose": (lambda a: a.x.transpose(1, -1), "permute"),
        "t": (lambda a: a.x[0].t(), "slice reshape permute"),
        "permute_of_ones": (lambda a: a.x[:, :1].transpose(0, 1), "slice reshape"),
        "permute_of_permute": (lambda a: a.x.permute(1, 2, 0).transpose(0, 1), "permute"),
        "permute_back": (lambda a: a.x.transpose(0, 1).transpose(0, 1), ""),
        "movedim": (lambda a: a.x.movedim(0, 2), "permute"),
        "expand": (lambda a: a.x[:, :1].expand(2, 3, 4), "slice expand"),
        "expand_as": (lambda a: a.x[:, :1].expand_as(a.i), "slice expand"),
        "expand_to_itself": (lambda a: a.x.expand(-1, 3, 4), ""),
        "broadcast_tensors": (
            lambda a: torch.broadcast_tensors(a.x, a.x[0, 0])[1],
            "slice reshape slice reshape expand",
        ),
        "broadcast_to_itself": (lambda a: torch.broadcast_tensors(a.x, a.x[0, 0])[0], ""),
        "full_reshaped": (lambda _: torch.ones(2, 12).reshape(2, 3, 4), "full"),
        "repeat": (lambda a: a.x.repeat(2, 1, 3), "reshape expand reshape"),
        "repeat_in_front": (lambda a: a.x.repeat(2, 1, 1, 1), "reshape expand reshape"),
        "repeat_once": (lambda a: a.x.repeat(1, 1, 1), ""),
        "repeat_interleave": (lambda a: a.x.repeat_interleave(2, 1), "reshape expand reshape"),
        "cat": (lambda a: torch.cat([a.x, a.x], -1), "cat"),
        "cat_of_dtypes": (lambda a: torch.cat([a.x, a.i], 1), "to cat"),
        "cat_with_empty": (lambda a: torch.cat([a.x[:, :0], a.x], 1), ""),
        "stack": (lambda a: torch.stack([a.x, a.x * 2], -1), "mul reshape reshape cat"),
        "stack_of_dtypes": (lambda a: torch.stack([a.x, a.i], 1), "reshape reshape to cat"),
        "flip": (lambda a: a.x.flip(1), "flip"),
    },
    "pieces": {
        "slice": (lambda a: a.x[:, 1:, ::2], "slice slice"),
        "slice_from_the_end": (lambda a: a.x[:, -2:], "slice"),
        "slice_past_the_end": (lambda a: a.x[:, 1:100], "slice"),
        "slice_of_all": (lambda a: a.x[:, 0:], ""),
        "select": (lambda a: a.x[:, -1], "slice reshape"),
        "split": (lambda a: a.x.split([1, 2], 1)[1], "slice"),
        "chunk": (lambda a: a.x.chunk(2, -1)[1], "slice"),
        "unbind": (lambda a: a.x.unbind(1)[1], "slice reshape"),
        "unequal": (lambda a: a.x.tensor_split(2, 1)[0], "slice"),
        "roll": (lambda a: a.x.roll(1, 1), "slice slice cat"),
        "roll_back": (lambda a: a.x.roll(-1, -1), "slice slice cat"),
        "roll_by_nothing": (lambda a: a.x.roll(0, 1), "slice"),
        "roll_two": (lambda a: a.x.roll((1, 2), (1, 2)), "roll"),
        "roll_flat": (lambda a: a.x.roll(5), "reshape slice slice cat reshape"),
        "pad": (lambda a: F.pad(a.x, (1, 2)), "full full cat"),
        "pad_two": (lambda a: F.pad(a.x, (0, 1, 2, 0), value=3.0), "full cat full cat"),
        "pad_integers": (lambda a: F.pad(a.i, (1, 1), value=2), "full full cat"),
        "pad_and_cut": (lambda a: F.pad(a.x, (-1, 2), value=3.0), "slice full cat"),
        "cut": (lambda a: F.pad(a.x, (-1, -1)), "slice"),
        "pad_nothing": (lambda a: F.pad(a.x, (0, 0)), ""),
        "pad_reflect": (lambda a: F.pad(a.x, (1, 2), mode="reflect"), "pad"),
        "slice_scatter": (lambda a: torch.slice_scatter(a.x, a.x[:, :1] * 2, 1, 1, 2), "slice mul slice slice cat"),
        "slice_scatter_all": (lambda a: torch.slice_scatter(a.x, a.x * 2, 1), "mul"),
        "slice_scatter_step": (
            lambda a: torch.slice_scatter(a.x, a.x[..., :2] * 2, 2, 0, 4, 2),
            "slice mul slice_scatter",
        ),
        "select_scatter": (
            lambda a: torch.select_scatter(a.x, a.x[:, 0] * 2, 1, -1),
            "slice reshape mul reshape slice cat",
        ),
        "in_place": (
            lambda a: _write_in_place(a.x),
            "full reshape slice slice cat slice add slice cat slice slice cat",
        ),
        "rows": (lambda a: a.x[0][torch.tensor([2, 0, 2])], "slice reshape embedding"),
        "rows_from_the_end": (lambda a: a.x[0][torch.tensor([-1, 0])], "slice reshape index"),
        "columns": (lambda a: a.x[:, torch.tensor([0, 2])], "index"),
        "index_select": (lambda a: a.x.index_select(1, torch.tensor([0, 2])), "index_select"),
        "gather": (lambda a: a.x.gather(-1, torch.tensor([[[0, 1]] * 3] * 2)), "gather"),
        "embedding": (lambda a: F.embedding((a.i + 3), torch.eye(24)), "add embedding"),
    },
    "arithmetic": {
        "add_integers": (lambda a: a.x + a.i, "to add"),
        "add_twice": (lambda a: torch.add(a.x, 2, alpha=3), "add"),
        "sub_scaled": (lambda a: torch.sub(a.x, a.x * 2, alpha=3), "mul mul sub"),
        "rsub": (lambda a: 1 - a.x, "sub"),
        "divide_integers": (lambda a: a.i / 2, "to div"),
        "floor_divide": (lambda a: a.i // 3, "floor_divide"),
        "floor_divide_floats": (lambda a: a.x // 0.3, "floor_divide"),
        "reciprocal": (lambda a: a.x.reciprocal(), "div"),
        "number_over": (lambda a: 2 / a.x, "div mul"),
        "number_to_the": (lambda a: 2**a.x, "pow"),
        "power": (lambda a: a.x**3, "pow"),
        "square": (lambda a: a.x.square(), "pow"),
        "mul_bool": (lambda a: (a.x > 0) * a.x, "gt to mul"),
        "mul_number_first": (lambda a: 2 * a.x, "mul"),
        "constant_scalar": (lambda a: a.x * torch.tensor(2.0), "mul"),
        "integer_remainder": (lambda a: a.i % 3, "floor_divide mul sub"),
        "maximum": (lambda a: torch.maximum(a.x, a.i), "to maximum"),
        "max_of_two": (lambda a: torch.max(a.x, a.i), "to maximum"),
        "min_of_two": (lambda a: a.x.min(torch.tensor(0.0)), "minimum"),
        "maximum_of_constant": (lambda a: torch.maximum(a.x, torch.tensor(0.0)), "maximum"),
        "clamp": (lambda a: a.x.clamp(-0.5, 0.5), "clamp"),
        "clamp_min": (lambda a: a.x.clamp_min(0.1), "clamp"),
        "clamp_max": (lambda a: a.x.clamp_max(0.1), "clamp"),
        "clamp_by_tensors": (lambda a: a.x.clamp(min=torch.zeros(4), max=a.x * 2), "mul full maximum minimum"),
        "clamp_integers": (lambda a: a.i.clamp(max=5), "clamp"),
        "relu6": (lambda a: F.relu6(a.x * 5), "mul clamp"),
        "hardtanh": (lambda a: F.hardtanh(a.x), "clamp"),
        "hardswish": (lambda a: F.hardswish(a.x), "add clamp clamp mul div"),
        "softplus": (lambda a: F.softplus(a.x), "gt where exp log1p where"),
        "mish": (lambda a: F.mish(a.x), "gt where exp log1p where tanh mul"),
        "glu": (lambda a: F.glu(a.x), "slice slice sigmoid mul"),
        "addmm": (
            lambda a: torch.addmm(a.x[0, 0, :3], a.x[0], a.x[0].t(), beta=2, alpha=0.5),
            "slice reshape slice reshape slice slice reshape slice reshape permute matmul mul mul add",
        ),
        "baddbmm": (lambda a: torch.baddbmm(a.x[:, :, :3], a.x, a.x.mT, beta=0.5), "slice permute matmul mul add"),
        "addcmul": (lambda a: torch.addcmul(a.x, a.x, a.x, value=3), "mul mul add"),
        "einsum": (
            lambda a: torch.einsum("bij,bkj->bik", a.x, a.x),
            "reshape permute reshape matmul",
        ),
        "dot": (lambda a: a.x[0, 0].dot(a.x[0, 1]), "slice reshape slice reshape slice reshape slice reshape matmul"),
        "mv": (lambda a: a.x[0] @ a.x[0, 0], "slice reshape slice reshape slice reshape matmul"),
        "cast": (lambda a: a.x.to(torch.float64), "to"),
        "cast_to_integers": (lambda a: a.x.int(), "to"),
        "cast_to_itself": (lambda a: a.x.float(), ""),
        "type_as": (lambda a: a.i.type_as(a.x), "to"),
    },
    "logic": {
        "and": (lambda a: (a.x > 0) & (a.x < 1), "gt lt logical_and"),
        "or": (lambda a: (a.x >= 0) | ~(a.x <= 1), "ge le logical_not logical_or"),
        "bits_and": (lambda a: a.i & 3, "bitwise_and"),
        "bits_or": (lambda a: a.i | torch.tensor(3), "bitwise_or"),
        "bits_not": (lambda a: ~a.i, "bitwise_not"),
        "logical_not": (lambda a: torch.logical_not(a.i), "to logical_not"),
        "logical_and": (lambda a: torch.logical_and(a.i, a.i > 2), "gt to logical_and"),
        "compare_dtypes": (lambda a: a.x > torch.arange(4), "to gt"),
        "compare_integers": (lambda a: a.i > 1.5, "gt"),
        "equal": (lambda a: a.i == 3, "eq"),
        "not_equal": (lambda a: a.i != a.x, "to ne"),
        "where": (lambda a: torch.where(a.x > 0, a.x, 0.0), "gt where"),
        "where_numbers": (lambda a: torch.where(a.x > 0, 1.0, -1.0), "gt full where"),
        "where_dtypes": (lambda a: torch.where(a.x > 0, a.x, a.i), "gt to where"),
        "masked_fill": (lambda a: a.x.masked_fill(a.x > 0, -torch.inf), "gt where"),
        "constant_mask": (lambda a: a.x[:, :, :3].masked_fill(MASK, 0), "slice where"),
        "any": (lambda a: (a.x > 0).any(-1), "gt any"),
    },
    "reductions": {
        "mean_of_all": (lambda a: a.x.mean(), "mean"),
        "mean": (lambda a: a.x.mean((-1, 0)), "mean"),
        "mean_kept": (lambda a: a.x.mean(1, True), "mean"),
        "sum_of_integers": (lambda a: a.i.sum(1), "sum"),
        "sum_of_bool": (lambda a: (a.x > 0).sum(-1), "gt to sum"),
        "amax": (lambda a: a.x.amax(-1), "amax"),
        "var": (lambda a: a.x.var(-1), "mean sub mul sum div"),
        "var_biased": (lambda a: a.x.var(-1, unbiased=False), "mean sub mul mean"),
        "std": (lambda a: a.x.std((0, 1), keepdim=True), "mean sub mul sum div eq where sqrt where"),
        "var_mean": (lambda a: sum(torch.var_mean(a.x, -1)), "mean sub mul sum div reshape add add"),
        "mean_of_var_mean": (lambda a: torch.var_mean(a.x, -1)[1], "mean reshape"),
        "cumsum": (lambda a: a.x.cumsum(-1), "cumsum"),
        "cumsum_of_bool": (lambda a: (a.x > 0).cumsum(1), "gt to cumsum"),
        "softmax": (lambda a: a.x.softmax(-1), "softmax"),
        "softmax_of_integers": (lambda a: a.i.softmax(-1, dtype=torch.float32), "to softmax"),
        "log_softmax": (lambda a: a.x.log_softmax(1), "log_softmax"),
    },
    "layers": {
        "group_norm": (lambda a: F.group_norm(a.m, 2), "group_norm"),
        "instance_norm": (lambda a: F.instance_norm(a.x), "group_norm"),
        "batch_norm_bare": (
            lambda a: F.batch_norm(a.x, torch.zeros(3), torch.ones(3) * 2),
            "full full full full batch_norm",
        ),
        "layer_norm": (lambda a: F.layer_norm(a.x, (3, 4)), "layer_norm"),
        "adaptive_to_one": (lambda a: F.adaptive_avg_pool2d(a.m, 1), "mean"),
        "adaptive_blocks": (lambda a: F.adaptive_avg_pool2d(a.m, (3, 2)), "reshape mean"),
        "adaptive_uneven": (lambda a: F.adaptive_avg_pool2d(a.m, (4, 3)), "adaptive_avg_pool2d"),
        "avg_pool": (lambda a: F.avg_pool2d(a.m, 2), "avg_pool2d"),
        "avg_pool_inner": (lambda a: F.avg_pool2d(a.m, 2, 1, 1, count_include_pad=False), "avg_pool2d"),
        "max_pool": (lambda a: F.max_pool2d(a.m, 2), "max_pool2d"),
        "max_pool_dilated": (lambda a: F.max_pool2d(a.m, 2, 1, 1, 2), "max_pool2d"),
        "conv_same": (lambda a: F.conv1d(a.x, torch.ones(2, 3, 3), padding="same"), "full conv1d"),
        "conv_valid": (lambda a: F.conv2d(a.m, torch.ones(2, 4, 2, 2), padding="valid"), "full conv2d"),
        "conv_groups": (lambda a: F.conv1d(a.x, ONES, stride=2, padding=1, dilation=2, groups=3), "full conv1d"),
        "upsample": (lambda a: F.interpolate(a.m, scale_factor=2), "upsample_nearest2d"),
        "upsample_to": (lambda a: F.interpolate(a.m, size=(7, 9)), "upsample_nearest2d"),
        "pixel_shuffle": (lambda a: F.pixel_shuffle(a.m, 2), "reshape permute reshape"),
        "attention": (
            lambda a: F.scaled_dot_product_attention(a.x[:, None], a.x[:, None], a.x[:, None], scale=0.3),
            "reshape reshape reshape scaled_dot_product_attention",
        ),
        "attention_causal": (
            lambda a: F.scaled_dot_product_attention(a.x[:, None], a.x[:, None], a.x[:, None], is_causal=True),
            "reshape reshape reshape scaled_dot_product_attention",
        ),
        "attention_masked": (
            lambda a: F.scaled_dot_product_attention(a.x[:, None], a.x[:, None], a.x[:, None], attn_mask=MASK),
            "reshape reshape reshape scaled_dot_product_attention",
        ),
        "attention_of_three": (lambda a: F.scaled_dot_product_attention(a.x, a.x, a.x), "scaled_dot_product_attention"),
        "dropout_off": (lambda a: F.dropout(a.x, training=False), ""),
    },
    "constants": {
        "of_shape": (lambda a: torch.zeros_like(a.x) + a.x, "full add"),
        "new": (lambda a: a.x.new_ones(3) * a.x[0, :, :3], "slice reshape slice full mul"),
        "full_like": (lambda a: torch.full_like(a.x, 2.0), "full"),
        "arange": (lambda a: a.x * torch.arange(a.x.shape[-1]), "to mul"),
        "constant": (lambda _: torch.arange(3.0), ""),
        "folded": (lambda a: a.x + torch.arange(4).sin().cumsum(0), "add"),
        "filled": (lambda a: a.x + torch.ones(4), "full add"),
        "sum_to_scalar": (lambda a: a.x.sum() * 2, "sum mul"),
    },
}
