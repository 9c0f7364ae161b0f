"""Small models as people bring them, after patterns in public reports of bugs: `tests.brought:NAME` is a source.

Each stands for a kind: names that collide, masks of whole rows, overflow in a branch that is not chosen, a constant in
float32, integers, structures, state. `tests/test_brought.py` says what is right.
"""

from __future__ import annotations

import importlib
import math
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytest_inferena import Case

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LOWEST = torch.finfo(torch.float32).min
PADDED = torch.tensor([[0, 0, 0, 0, 0], [0, 0, 0, 1, 1]], dtype=torch.bool)


class Net(nn.Module):
    """A function of its inputs, and of parts that it has by name: layers, parameters, buffers."""

    def __init__(self, compute: Callable[..., Any], parts: Mapping[str, Callable[[], Any]]) -> None:
        super().__init__()
        self.compute = compute
        for name, make in parts.items():
            made = make()
            if isinstance(made, Tensor) and not isinstance(made, nn.Parameter):
                self.register_buffer(name, made)
            else:
                setattr(self, name, made)

    def forward(self, **inputs: Any) -> Any:
        """What the function makes of them."""
        return self.compute(self, **inputs)


def squares(*outputs: Tensor) -> Tensor:
    """The loss where a model needs no other."""
    return torch.stack([output.float().pow(2).mean() for output in outputs]).sum()


def net(
    compute: Callable[..., Any], parts: Mapping[str, Callable[[], Any]], /, *,
    loss: Callable[..., Any] = squares, outputs: tuple[str, ...] = ("output",),
    targets: Mapping[str, Tensor] | None = None, **inputs: Any,
) -> partial[Case]:  # fmt: skip
    """What makes a case, its weights where they are made: PyTorch's own, by a seed."""
    return partial(_case, compute, parts, inputs, dict(targets or {}), {"loss": loss, "outputs": outputs})


def _case(
    compute: Any, parts: Mapping[str, Callable[[], Any]], inputs: Any, targets: Any, others: Mapping[str, Any]
) -> Case:
    return Case(Net(compute, parts), inputs, inputs, targets, **others)


def normal(*shape: int) -> Tensor:
    """Seeded numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def linear(inputs: int, outputs: int, name: str = "l") -> dict[str, Callable[[], Any]]:
    """A layer, by its name."""
    return {name: partial(nn.Linear, inputs, outputs)}


def zeros(*shape: int) -> Callable[[], nn.Parameter]:
    """A parameter."""
    return lambda: nn.Parameter(torch.zeros(*shape))


def _alpha(s: Any, x: Tensor) -> Tensor:
    y = s.l(x)
    summed = torch.add(x, y, alpha=10) - torch.sub(x, y, alpha=3) + torch.rsub(x, y, alpha=2)
    return summed + torch.addcmul(x, y, y, value=0.5) + torch.lerp(x, y, 0.3)


def _angles(s: Any, t: Tensor) -> Tensor:
    angles = t[:, None].float() * torch.exp(torch.arange(4, dtype=torch.float32) * -0.5)
    return s.l(torch.cat([angles.sin(), angles.cos()], -1))


def _attends(s: Any, x: Tensor, keep: Tensor) -> Tensor:
    query = s.l(x)[:, None]
    return F.scaled_dot_product_attention(query, query, query, attn_mask=keep[:, None, None, :])


def _lowest(s: Any, x: Tensor, keep: Tensor) -> Tensor:
    query = s.l(x)[:, None]
    mask = (1.0 - keep[:, None, None, :].to(query.dtype)) * LOWEST
    return F.scaled_dot_product_attention(query, query, query, attn_mask=mask)


def _rows(s: Any, x: Tensor, keep: Tensor) -> Tensor:
    query, key, value = (part[:, None] for part in s.q(x).chunk(3, -1))
    mask = keep[:, None, None, :] & keep[:, None, :, None]
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)[:, 0]


def _counter(s: Any, x: Tensor) -> Tensor:
    s.n.add_(1)
    return s.l(x) * s.n


@torch.library.custom_op("brought::twice", mutates_args=())  # type: ignore[untyped-decorator]
def twice(x: Tensor) -> Tensor:
    """An operator of a user's own."""
    return x * 2


twice.register_fake(torch.empty_like)
twice.register_autograd(lambda _, grad: grad * 2)


def _dataclass(s: Any, x: Tensor) -> Any:
    return importlib.import_module("transformers.modeling_outputs").BaseModelOutput(last_hidden_state=s.l(x))


def exported() -> Case:
    """The module of an exported program, which is in no mode and takes its arguments as it was traced."""
    module = torch.export.export(nn.Linear(4, 3), (normal(2, 4),)).module()
    return Case(module, {"input": normal(2, 4)}, loss=squares)


def _integers(s: Any, x: Tensor) -> tuple[Tensor, ...]:
    y = s.l(x)
    return y, y.argmax(-1), y > 0


def _cat(s: Any, x: Tensor) -> tuple[Tensor, ...]:
    a = s.l(x)[:, 1:]
    b = a - a
    return torch.cat([a + b, b], 1), x - (x + 1)


def _recurrent(s: Any, x: Tensor) -> tuple[Tensor, ...]:
    y, (h, c) = s.r(x)
    return y, h, c


def _boxes(s: Any, x: Tensor, b: Tensor) -> Tensor:
    ops = importlib.import_module("torchvision.ops")
    return ops.roi_align(s.c(x), b, 3, spatial_scale=0.5, aligned=True)


def _normed(s: Any, x: Tensor) -> Tensor:
    y = s.l(x)
    found: Tensor = y / y.norm(dim=-1, keepdim=True) + (y - y.detach()).norm(dim=-1, keepdim=True)
    return found


def _scattered(s: Any, x: Tensor, edge: Tensor) -> Tensor:
    h = s.l(x)
    message = h[edge[0]]
    added = torch.zeros_like(h).index_add(0, edge[1], message)
    return added + torch.full_like(h, -9.0).scatter_reduce(0, edge[1][:, None].expand(-1, 4), message, "amax")


def _sorted(s: Any, x: Tensor) -> tuple[Tensor, ...]:
    p, i = torch.sort(s.l(x).softmax(-1), dim=-1, descending=True)
    return p.cumsum(-1), torch.logcumsumexp(p, -1), p.cumprod(-1), i


def _recurring(s: Any, x: Tensor) -> Tensor:
    h = torch.zeros(x.shape[0], 4)
    for _ in range(2):
        h = torch.addmm(h, x, s.l.weight)
    return h


def _convolved(s: Any, x: Tensor) -> Tensor:
    return torch.fft.irfft(torch.fft.rfft(x, n=16) * torch.fft.rfft(s.k, n=16), n=16)[..., :8]


def _sampled(s: Any, x: Tensor) -> Tensor:
    grid = torch.tanh(s.c(x)).permute(0, 2, 3, 1) * 1.3
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _squeezed(s: Any, x: Tensor) -> Tensor:
    y = s.c(x)
    return y * s.p(y)


def _squeeze() -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.ReLU())


def _encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, activation="gelu")
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=True)


def _upside_down() -> nn.Module:
    shape = {"stride": (2, 3), "padding": (1, 0), "output_padding": (1, 2), "dilation": (2, 1), "groups": 2}
    return nn.ConvTranspose2d(4, 6, (3, 2), **shape)


def _plain(s: Any, x: Tensor) -> Tensor:
    return s.l(x)


X = normal(2, 4)
ROWS = normal(2, 5, 8)
ATTENTION = partial(nn.MultiheadAttention, 8, 2, batch_first=True)

alpha = net(_alpha, linear(4, 4), x=X)
arange_f32 = net(_angles, linear(8, 4), t=torch.tensor([3, 700]))
bf16 = net(_plain, {"l": lambda: nn.Linear(8, 8).bfloat16()}, x=normal(2, 8).bfloat16())
bilinear = net(
    lambda s, x: F.interpolate(s.c(x), scale_factor=1.7, mode="bilinear", align_corners=False),
    {"c": partial(nn.Conv2d, 3, 4, 3, padding=1)}, x=normal(2, 3, 7, 9),
)  # fmt: skip
bn1_batch1 = net(
    lambda s, x: s.o(torch.relu(s.b(s.l(x)))),
    linear(4, 6) | {"b": partial(nn.BatchNorm1d, 6)} | linear(6, 2, "o"), x=normal(1, 4),
)  # fmt: skip
channel_mean = net(
    lambda s, x: s.d(s.c(x)).mean(dim=(1, 2, 3)),
    {"c": partial(nn.Conv2d, 3, 8, 3, padding=1), "d": partial(nn.Conv2d, 8, 1, 1)}, x=normal(2, 3, 8, 8),
)  # fmt: skip
collide_same_shape = net(
    lambda s, x, gate: s.l(x * s.gate * gate), {"gate": zeros(4)} | linear(4, 3), x=X, gate=normal(4)
)
cond = net(lambda s, x: torch.cond(x.sum() > 0, s.l, lambda y: -s.l(y), (x,)), linear(4, 3), x=X)
conv3d = net(
    lambda s, x: F.avg_pool3d(torch.relu(s.b(s.c(x))), 2),
    {"c": partial(nn.Conv3d, 2, 4, 3, padding=1), "b": partial(nn.BatchNorm3d, 4)}, x=normal(2, 2, 4, 6, 6),
)  # fmt: skip
convt = net(lambda s, x: s.c(x), {"c": _upside_down}, x=normal(2, 4, 5, 6))
counter = net(_counter, linear(4, 3) | {"n": partial(torch.zeros, ())}, x=X)
customop = net(lambda s, x: twice(s.l(x)), linear(4, 4), x=X)
dataclass_out = net(_dataclass, linear(4, 3), x=X)
dict_out = net(lambda s, x: {"logits": s.l(x), "hidden": x * 2}, linear(4, 3), x=X, outputs=("logits", "hidden"))
embbag = net(
    lambda s, ids, offsets: s.l(s.e(ids, offsets)), {"e": partial(nn.EmbeddingBag, 10, 4, mode="sum")} | linear(4, 1),
    ids=torch.tensor([1, 2, 4, 5, 4, 3]), offsets=torch.tensor([0, 2, 3]),
)  # fmt: skip
encoder = net(lambda s, x, pad: s.e(x, src_key_padding_mask=pad), {"e": _encoder}, x=normal(2, 5, 16), pad=PADDED)
fft = net(_convolved, {"k": zeros(4, 8)}, x=normal(2, 4, 8))
frozen = net(_plain, {"l": lambda: nn.Linear(4, 3).requires_grad_(False)}, x=X)
gridsample = net(_sampled, {"c": partial(nn.Conv2d, 3, 2, 3, padding=1)}, x=normal(2, 3, 6, 7))
int_out = net(
    _integers, linear(4, 7), x=X, outputs=("logits", "label", "positive"), targets={"y": torch.tensor([1, 2])},
    loss=lambda logits, _label, _positive, y: F.cross_entropy(logits, y),
)  # fmt: skip
iree_cat = net(_cat, linear(4, 4), x=X, outputs=("cat", "minus_one"), loss=lambda cat, _: cat.pow(2).mean())
lstm = net(
    _recurrent, {"r": partial(nn.LSTM, 5, 6, num_layers=2, bidirectional=True, batch_first=True)},
    x=normal(2, 7, 5), outputs=("y", "h", "c"),
)  # fmt: skip
mask_b11s = net(_attends, linear(8, 8), x=ROWS, keep=~PADDED)
mask_min = net(_lowest, linear(8, 8), x=ROWS, keep=torch.tensor([[1, 1, 1, 1, 1], [0, 0, 0, 0, 0]]))
mha_pad = net(
    lambda s, x, pad: s.a(x, x, x, key_padding_mask=pad, need_weights=False)[0], {"a": ATTENTION}, x=ROWS, pad=PADDED
)
mish200 = net(lambda s, x: F.mish(s.l(x) * 200), linear(4, 4), x=X)
neginf_out = net(
    lambda s, x: s.l(x).masked_fill(torch.tensor([True, False, False]), -math.inf), linear(4, 3), x=X,
    loss=lambda output: output[:, 1:].mean(),
)  # fmt: skip
nested_in = net(lambda s, x, past: s.l(x) + past[0], linear(4, 3), x=X, past=(normal(2, 3), normal(2, 3)))
none_out = net(lambda s, x: s.a(x, x, x, need_weights=False), {"a": ATTENTION}, x=ROWS)
param_eq_input = net(
    lambda s, x, scale: s.l(x * s.scale) + scale, {"scale": zeros(4)} | linear(4, 3), x=X, scale=normal(3)
)
py_scalar = net(lambda s, x, scale: s.l(x) * scale, linear(4, 3), x=X, scale=2.0)
roialign = net(
    _boxes, {"c": partial(nn.Conv2d, 3, 4, 1)}, x=normal(2, 3, 8, 8),
    b=torch.tensor([[0, 1, 1, 9, 8], [1, 0, 2, 12, 14.0]]),
)  # fmt: skip
safe_norm_zero = net(_normed, linear(4, 4), x=X)
scatter = net(_scattered, linear(4, 4), x=normal(5, 4), edge=torch.tensor([[0, 1, 2, 3, 4, 0], [1, 2, 3, 4, 0, 2]]))
sdpa_row = net(_rows, linear(8, 24, "q"), x=ROWS, keep=~PADDED)
se_bn_1x1 = net(_squeezed, {"c": partial(nn.Conv2d, 3, 4, 3), "p": _squeeze}, x=normal(1, 3, 6, 6))
softplus200 = net(lambda s, x: F.softplus(s.l(x) * 200), linear(4, 4), x=X)
sort_cumsum = net(
    _sorted, linear(6, 6), x=normal(3, 6), outputs=("c", "l", "p", "i"),
    loss=lambda c, l, p, _: c.mean() + l.mean() + p.mean(),  # noqa: E741 - its outputs' names
)  # fmt: skip
target_eq_input = net(
    _plain, linear(4, 4), x=X, targets={"x": torch.zeros(2, 4)}, loss=lambda output, x: (output - x).square().mean()
)
uint8 = net(
    lambda s, x: s.c(x.float() / 255 - 0.5), {"c": partial(nn.Conv2d, 3, 4, 3)},
    x=torch.arange(2 * 3 * 6 * 6).reshape(2, 3, 6, 6).remainder(256).to(torch.uint8),
)  # fmt: skip
zeros_f32 = net(_recurring, linear(4, 4), x=X)
