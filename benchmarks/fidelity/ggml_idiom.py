"""Are a Llama and a U-Net written by hand for ggml faster than our operator table?

The Llama follows llama.cpp's graph (llm_build_llama), with its rotary embedding and its grouped heads; its training
step is ggml's own backward pass, where the adapter runs PyTorch's gradient graph.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import numpy as np
from benchmarks.fidelity.common import arguments, compiled, prepared, side_by_side, stepping
from ggml import ggml

from pytest_inferena import Program
from pytest_inferena.machine import thread_budget
from pytest_inferena.worker.server import Weights

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HEADS, GROUPS, EPS, THETA = 9, 3, 1e-5, 100_000.0
F32, I32 = ggml.GGML_TYPE_F32, ggml.GGML_TYPE_I32
ROOM = 1 << 14


class Hand:
    """Tensors in a context, and the graph they become."""

    def __init__(self, arrays: Mapping[str, np.ndarray[Any, Any]], *, trains: bool = False) -> None:
        self.backend = ggml.ggml_backend_cpu_init()
        ggml.ggml_backend_cpu_set_n_threads(self.backend, thread_budget())
        self.leaves, self.context = (_context() for _ in range(2))
        self.held: dict[str, Any] = {}
        for name, array in arrays.items():
            sizes = (ctypes.c_int64 * max(array.ndim, 1))(*array.shape[::-1])
            kind = F32 if array.dtype == np.float32 else I32
            self.held[name] = ggml.ggml_new_tensor(self.leaves, kind, array.ndim, sizes)
            if trains and name.endswith("weight"):
                ggml.ggml_set_param(self.held[name])
        ggml.ggml_backend_alloc_ctx_tensors(self.leaves, self.backend)
        for name, array in arrays.items():
            kept = np.ascontiguousarray(array)
            ggml.ggml_backend_tensor_set(self.held[name], ctypes.c_void_p(kept.ctypes.data), 0, kept.nbytes)
        self.trains = trains

    def __getitem__(self, name: str) -> Any:
        return self.held[name]

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function = getattr(ggml, f"ggml_{name}")
        return lambda *operands: function(self.context, *operands)

    def step(self, result: Any) -> Callable[[], None]:
        """Plan the graph that ends here, and compute it."""
        graph = ggml.ggml_new_graph_custom(self.context, ROOM, self.trains)
        ggml.ggml_set_output(result)
        if self.trains:
            ggml.ggml_set_loss(result)
        ggml.ggml_build_forward_expand(graph, result)
        if self.trains:
            ggml.ggml_build_backward_expand(self.context, graph, None)
        planned = ggml.ggml_gallocr_new(ggml.ggml_backend_get_default_buffer_type(self.backend))
        assert ggml.ggml_gallocr_alloc_graph(planned, graph)
        ggml.ggml_graph_reset(graph) if self.trains else None
        return lambda: ggml.ggml_backend_graph_compute(self.backend, graph)


def _context() -> Any:
    size = ROOM * ggml.ggml_tensor_overhead() + ggml.ggml_graph_overhead_custom(ROOM, True)
    return ggml.ggml_init(ggml.ggml_init_params(mem_size=size, mem_buffer=None, no_alloc=True))


def layer(h: Hand, x: Any, at: str, length: int) -> Any:
    """One transformer layer."""
    y = h.mul(h.rms_norm(x, EPS), h[f"{at}.input_layernorm.weight"])
    q, k, v = (h.mul_mat(h[f"{at}.self_attn.{name}_proj.weight"], y) for name in "qkv")
    q, k = (
        h.rope_ext(h.reshape_3d(part, 64, heads, length), h["places"], None, 64, 2, 0, THETA, 1.0, 0.0, 1.0, 32.0, 1.0)
        for part, heads in ((q, HEADS), (k, GROUPS))
    )
    q, k = h.permute(q, 0, 2, 1, 3), h.permute(k, 0, 2, 1, 3)
    v = h.cont(h.permute(h.reshape_3d(v, 64, GROUPS, length), 1, 2, 0, 3))
    weights = h.soft_max_ext(h.mul_mat(k, q), h["mask"], 64**-0.5, 0.0)
    y = h.cont_2d(h.permute(h.mul_mat(v, weights), 0, 2, 1, 3), 64 * HEADS, length)
    x = h.add(h.mul_mat(h[f"{at}.self_attn.o_proj.weight"], y), x)
    y = h.mul(h.rms_norm(x, EPS), h[f"{at}.post_attention_layernorm.weight"])
    gate, up = (h.mul_mat(h[f"{at}.mlp.{name}_proj.weight"], y) for name in ("gate", "up"))
    return h.add(h.mul_mat(h[f"{at}.mlp.down_proj.weight"], h.swiglu_split(gate, up)), x)


def llama(weights: Mapping[str, Any], tokens: Any, labels: Any = None) -> Callable[[], None]:
    """Tokens (S,) to logits, or the loss and its gradients."""
    length = len(tokens)
    mask = np.where(np.tril(np.ones((length, length), bool)), np.float32(0), np.float32(-np.inf))
    given = {"tokens": tokens.astype(np.int32), "places": np.arange(length, dtype=np.int32), "mask": mask}
    if labels is not None:
        given["labels"] = np.eye(weights["model.embed_tokens.weight"].shape[0], dtype=np.float32)[labels]
    h = Hand({**given, **weights}, trains=labels is not None)
    x = h.get_rows(h["model.embed_tokens.weight"], h["tokens"])
    for index in range(sum(name.endswith("input_layernorm.weight") for name in weights)):
        x = layer(h, x, f"model.layers.{index}", length)
    x = h.mul(h.rms_norm(x, EPS), h["model.norm.weight"])
    logits = h.mul_mat(h["model.embed_tokens.weight"], x)
    return h.step(logits if labels is None else h.cross_entropy_loss(logits, h["labels"]))


def norm(h: Hand, x: Any, at: str) -> Any:
    """Group norm and SiLU."""
    scale, shift = (
        h.reshape_3d(h[f"{at}.{part}"], 1, 1, h[f"{at}.{part}"].contents.ne[0]) for part in ("weight", "bias")
    )
    return h.silu(h.add(h.mul(h.group_norm(x, 16, EPS), scale), shift))


def resnet(h: Hand, x: Any, at: str) -> Any:
    """Two times norm, SiLU and convolution, added to the stream."""
    y = x
    for index in (1, 2):
        y = h.conv_2d(h[f"{at}.conv{index}.weight"], norm(h, y, f"{at}.norm{index}"), 1, 1, 1, 1, 1, 1)
    shortcut = f"{at}.conv_shortcut.weight"
    return h.add(y, h.conv_2d(h[shortcut], x, 1, 1, 0, 0, 1, 1) if shortcut in h.held else x)


def unet(weights: Mapping[str, Any], latent: Any) -> Callable[[], None]:
    """The small U-Net."""
    h = Hand({"latent": latent, **weights})
    x, skips = h.conv_2d(h["conv_in.weight"], h["latent"], 1, 1, 1, 1, 1, 1), []
    for level in range(3):
        if level:
            x = h.conv_2d(h[f"downsamplers.{level - 1}.weight"], x, 2, 2, 1, 1, 1, 1)
        x = resnet(h, x, f"down_resnets.{level}")
        skips.append(x)
    x = resnet(h, x, "mid_resnet")
    for level in (2, 1, 0):
        x = resnet(h, h.concat(x, skips[level], 2), f"up_resnets.{level}")
        if level:
            x = h.upscale(x, 2, ggml.GGML_SCALE_MODE_NEAREST)
    return h.step(h.conv_2d(h["conv_out.weight"], norm(h, x, "norm_out"), 1, 1, 1, 1, 1, 1))


def main() -> None:
    """Full size only: the constants above are its."""
    options = arguments(__doc__)
    for model, metric in (("sd_unet", "inference"), ("smollm2", "inference"), ("smollm2", "training")):
        target, ready = prepared(model, "ggml", "cpu", "full")
        program = Program.read(ready.program)
        weights = dict(Weights(ready.program / "weights.safetensors"))
        inputs = program.entry(metric).arrays("inputs")
        if model == "sd_unet":
            by_hand = unet(weights, inputs["noisy_latent"])
        else:
            labels = inputs["labels"].reshape(-1) if metric == "training" else None
            by_hand = llama(weights, inputs["input_ids"][0], labels)
        ways = {"by hand": by_hand, "adapter": stepping(compiled(target, ready, metric))}
        side_by_side(f"{target.model.title}, {metric}", ways, options.rounds)


if __name__ == "__main__":
    main()
