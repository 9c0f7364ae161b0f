"""Architectures recognised in a Program, and what is refused: an engine would compute its own code all the same."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
import pytest
import torch
from tests.checkpoints import small_llama
from tests.conformance import ROOT
from tests.programs import captured

from pytest_inferena.prepare.sources import load_case
from pytest_inferena.program.checkpoint import llama, recognise, whisper
from pytest_inferena.worker import Entry, Node, Ref, Unsupported


@functools.cache
def entry(model: str, what: str = "inputs") -> Entry:
    """An entry of one of the models at tiny size; tests change copies of it."""
    case = load_case(ROOT / "benchmarks" / "models" / f"{model}.py", "tiny")
    return captured(case.module.eval(), getattr(case, what))


def of(model: str, operator: str, number: int = 0) -> Node:
    """The nth node of an operator."""
    return [node for node in entry(model).nodes if node.operator == operator][number]


def changed(model: str, node: Node, **arguments: Any) -> Entry:
    """A model's entry in which one node has other arguments."""
    old = entry(model)
    new = dataclasses.replace(node, arguments=node.arguments | arguments)
    nodes = tuple(new if other is node else other for other in old.nodes)
    return dataclasses.replace(old, nodes=nodes, specs=old.specs, _arrays=dict(old._arrays))


def with_constants(model: str, change: Any) -> Entry:
    """A model's entry with other constants."""
    old = entry(model)
    constants = {name: change(array) for name, array in old.arrays("constants").items()}
    return dataclasses.replace(old, specs=old.specs, _arrays={"constants": constants})


def hf_llama(**settings: Any) -> Entry:
    """An entry of a Llama of unusual sizes."""
    return captured(small_llama(**settings), {"input_ids": torch.arange(10).reshape(2, 5)})


def test_the_llama_of_the_benchmark() -> None:
    """Sizes, constants and the names of the weights are read from the entry."""
    found = llama(entry("smollm2"))

    assert (512, 48, 128, 3, 1, 16) == (
        found.vocabulary, found.width, found.feed_forward, found.heads, found.groups, found.head_width
    )  # fmt: skip
    assert (1e-5, 100_000.0) == (found.epsilon, found.rope_base)
    assert found.head == found.embedding == "model.embed_tokens.weight"
    assert found.norm == "model.norm.weight"
    assert len(found.layers) == 2
    assert {
        "attention_norm": "model.layers.1.input_layernorm.weight",
        "query": "model.layers.1.self_attn.q_proj.weight",
        "key": "model.layers.1.self_attn.k_proj.weight",
        "value": "model.layers.1.self_attn.v_proj.weight",
        "output": "model.layers.1.self_attn.o_proj.weight",
        "feed_forward_norm": "model.layers.1.post_attention_layernorm.weight",
        "gate": "model.layers.1.mlp.gate_proj.weight",
        "up": "model.layers.1.mlp.up_proj.weight",
        "down": "model.layers.1.mlp.down_proj.weight",
    } == dataclasses.asdict(found.layers[1])


def test_a_llama_of_other_sizes() -> None:
    """A batch, heads that do not fill the width, a head of its own, another base and eps are all read."""
    found = llama(hf_llama())

    assert (24, 20, 4, 2, 8) == (found.width, found.feed_forward, found.heads, found.groups, found.head_width)
    assert (1e-3, 500.0) == (found.epsilon, found.rope_base)
    assert (found.embedding, found.head) == ("model.embed_tokens.weight", "lm_head.weight")


def test_one_position_does_not_show_the_base() -> None:
    """Position 0 is not rotated, whatever the base is."""
    assert llama(entry("smollm2", "latency")).rope_base is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"attention_bias": True}, r"\(aten.linear\) has a bias"),
        ({"mlp_bias": True}, r"\(aten.linear\) has a bias"),
        ({"hidden_act": "gelu"}, r"\(aten.mul\) does not have one operand made by aten.silu"),
        ({"num_hidden_layers": 0}, "it has no layers"),
        (
            {"rope_parameters": {
                "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
                "high_freq_factor": 4.0, "original_max_position_embeddings": 64,
            }},
            r"\(aten.rotary_embedding\) has tables that are not of angles",
        ),
    ],
)  # fmt: skip
def test_llamas_that_are_different(settings: dict[str, Any], message: str) -> None:
    """What Hugging Face's Llama can be beside the plain one is refused, with the place and the difference."""
    with pytest.raises(Unsupported, match="^not a Llama: .*" + message):
        llama(hf_llama(**settings))


ATTENTION, ROTARY = "scaled_dot_product_attention", "rotary_embedding"
LLAMA_CHANGES: dict[str, tuple[str, int, dict[str, Any], str]] = {
    "no causal mask": (ATTENTION, 0, {"is_causal": False}, "is not causal"),
    "a mask": (ATTENTION, 0, {"attn_mask": Ref("x")}, "has a mask of its own"),
    "scores' scale": (ATTENTION, 1, {"scale": 0.2}, "has scale 0.2, not 1 / √16"),
    "query and key swapped": (ATTENTION, 0, {"query": Ref("add_5")}, "has .* heads of query, key and value"),
    "value rotated": (ATTENTION, 0, {"value": Ref("add_4")}, r"\(aten.rotary_embedding\) stands where aten.linear"),
    "key not rotated": (ATTENTION, 0, {"key": Ref("view_4")}, "stands where aten.rotary_embedding is expected"),
    "heads mixed": ("permute", 0, {"dims": [0, 2, 3, 1]}, "not linear split into heads"),
    "heads merged wrongly": ("permute", 1, {"dims": [0, 1, 2, 3]}, "does not have its heads side by side"),
    "eps of one norm": ("rms_norm", 1, {"eps": 1e-6}, "has epsilon 1e-06, others have 1e-05"),
    "norm left out": ("linear", 0, {"input": Ref("embedding")}, "reads different tensors"),
    "up of another tensor": ("linear", 5, {"input": Ref("add_6")}, "has another input than the gate"),
    "no residual": ("add", 1, {"self": Ref("embedding")}, "does not add a feed-forward network to its input"),
    "attention's residual": ("add", 0, {"self": Ref("mul_4")}, "does not add attention to its input"),
    "silu left out": ("mul", 0, {"self": Ref("linear_4")}, "does not have one operand made by aten.silu"),
    "sine for cosine": (ROTARY, 0, {"cos": Ref("const.unsqueeze_12.half")}, "has tables that are not of angles"),
    "norm over two dimensions": ("rms_norm", 0, {"normalized_shape": [32, 48]}, "is over several dimensions"),
    "a weight that is computed": ("linear", 6, {"weight": Ref("linear_3")}, "has no parameter as weight"),
    "a number for a tensor": ("add", 0, {"other": 1.0}, "has no tensor as other"),
    "tokens that are no input": ("embedding", 0, {"indices": Ref("x")}, "does not read the only input"),
    "tables that are an input": (ROTARY, 0, {"cos": Ref("input_ids")}, "has tables that are not constant"),
}


@pytest.mark.parametrize("what", LLAMA_CHANGES)
def test_a_llama_with_one_change(what: str) -> None:
    """Wiring, constants and layout are compared at every node."""
    operator, number, arguments, message = LLAMA_CHANGES[what]
    with pytest.raises(Unsupported, match="^not a Llama: .*" + message):
        llama(changed("smollm2", of("smollm2", operator, number), **arguments))


@pytest.mark.parametrize(
    ("reader", "argument", "message"),
    [
        ("view", "self", "has a scaled query, key or value"),
        ("view_4", "self", "has a scaled query, key or value"),
        ("scaled_dot_product_attention", "key", "which is not add_5 head by head"),
        ("view_6", "self", "does not have its heads side by side"),
    ],
)
def test_a_factor(reader: str, argument: str, message: str) -> None:
    """A product with a number is seen wherever heads are split, repeated or merged."""
    node = next(node for node in entry("smollm2").nodes if node.name == reader)
    before = node.arguments[argument]
    whole = changed("smollm2", node, **{argument: Ref("scaled")})
    spec = dataclasses.replace(whole.specs[before.name], name="scaled")
    scaled = Node("mul", {"self": before, "other": 2.0}, (spec,))
    specs = whole.specs | {"scaled": spec}
    with pytest.raises(Unsupported, match=message):
        llama(dataclasses.replace(whole, nodes=(scaled, *whole.nodes), specs=specs))


def test_positions_that_start_later() -> None:
    """Rotary tables of positions 1, 2, … are another model's."""
    with pytest.raises(Unsupported, match="tables that are not of angles"):
        llama(with_constants("smollm2", lambda array: np.roll(array, -1, 0)))


def test_a_small_error_of_the_tables() -> None:
    """A base that is 1 in 10,000 off in its tables' angles is seen."""
    entry_ = with_constants("smollm2", lambda array: array)
    constants = entry_.arrays("constants")
    [cos, sin] = constants
    angles = np.arange(32)[:, None] * 100_000.0 ** (-np.arange(8) / 8)
    angles[:, 3] *= 1.0001
    entry_._arrays["constants"] = {cos: np.cos(angles), sin: np.sin(angles)}
    with pytest.raises(Unsupported, match="tables that are not of angles"):
        llama(entry_)


def test_the_whisper_of_the_benchmark() -> None:
    """Both stacks, the convolutions and the names of the inputs are read from the entry."""
    found = whisper(entry("whisper_tiny"))

    assert (found.features, found.tokens) == ("input_features", "decoder_input_ids")
    assert [part.weight for part in found.convolutions] == ["model.encoder.conv1.weight", "model.encoder.conv2.weight"]
    assert (3, 2, 3, 2) == (
        found.encoder.heads, len(found.encoder.layers), found.decoder.heads, len(found.decoder.layers)
    )  # fmt: skip
    assert found.encoder.positions == "model.encoder.embed_positions.weight"
    layer = found.decoder.layers[1]
    cross = "model.decoder.layers.1.encoder_attn"
    assert layer.cross is not None
    assert (layer.cross.query.bias, layer.cross.key.bias) == (f"{cross}.q_proj.bias", None)
    assert (layer.cross.value.weight, layer.cross.output.weight) == (
        f"{cross}.v_proj.weight",
        f"{cross}.out_proj.weight",
    )
    assert layer.norm.weight == "model.decoder.layers.1.final_layer_norm.weight"
    assert found.encoder.layers[0].cross is None


WHISPER_CHANGES: dict[str, tuple[str, int, dict[str, Any], str]] = {
    "another GELU": ("gelu", 0, {"approximate": "tanh"}, "is approximate"),
    "another stride": ("conv1d", 1, {"stride": [1]}, "is not of size 3 and stride 2"),
    "eps of one norm": ("layer_norm", 3, {"eps": 1e-6}, "has an eps that is not 1e-05"),
    "a norm without weight": ("layer_norm", 3, {"weight": None}, "lacks weight or bias"),
    "encoder that looks back only": (ATTENTION, 0, {"is_causal": True}, "is causal"),
    "decoder that looks ahead": (ATTENTION, 2, {"is_causal": False}, "is not causal"),
    "cross-attention's scale": ("mul", 3, {"other": 0.3}, "has scale 0.3, not 1 / √16"),
    "keys of the decoder": ("linear", 17, {"input": Ref("layer_norm_6")}, "is not|queries and|has keys and values of"),
    "no residual": ("add", 2, {"self": Ref("add")}, "does not add a feed-forward network to its input"),
    "attention's residual": ("add", 1, {"self": Ref("layer_norm")}, "is not added to its input"),
    "a head with a bias": ("linear", 32, {"bias": Ref("model.decoder.layer_norm.bias")}, "has a bias"),
    "tokens that are no input": ("embedding", 1, {"indices": Ref("const.arange")}, "does not read an input"),
    "channels before time": ("permute", 0, {"dims": [0, 1, 2]}, "does not put time before channels"),
    "no positions": ("add", 0, {"other": Ref("gelu_1")}, "does not add rows of a table of positions"),
}


@pytest.mark.parametrize("what", WHISPER_CHANGES)
def test_a_whisper_with_one_change(what: str) -> None:
    """Wiring, constants and layout are compared at every node."""
    operator, number, arguments, message = WHISPER_CHANGES[what]
    with pytest.raises(Unsupported, match="^not a Whisper: .*" + message):
        whisper(changed("whisper_tiny", of("whisper_tiny", operator, number), **arguments))


def test_positions_in_another_order() -> None:
    """Rows of the table of positions are the first ones, in their order."""
    with pytest.raises(Unsupported, match="is not of positions 0, 1, …"):
        whisper(with_constants("whisper_tiny", lambda array: array[..., ::-1]))


def test_other_dtypes_are_refused() -> None:
    """The gate compares float32, and a checkpoint in another type would be another model."""
    old = entry("smollm2")
    name = "model.norm.weight"
    specs = old.specs | {name: dataclasses.replace(old.specs[name], dtype="float16")}
    with pytest.raises(Unsupported, match=r"model.norm.weight is float16; float32 is all that is compared"):
        llama(dataclasses.replace(old, specs=specs))


class _Program:
    """Entries by name."""

    def __init__(self, **entries: Entry) -> None:
        self.entry = entries.__getitem__


def test_one_checkpoint_for_all_entries() -> None:
    """The base comes from the entry that shows it; an entry of another model is named."""
    short, long = entry("smollm2", "latency"), entry("smollm2")
    found, reasons = recognise(_Program(inference=long, latency=short), whisper, llama)  # type: ignore[arg-type]
    other = _Program(inference=long, latency=hf_llama())
    _, different = recognise(other, llama)  # type: ignore[arg-type]
    nothing, both = recognise(_Program(inference=long, latency=entry("whisper_tiny")), llama)  # type: ignore[arg-type]

    assert (found.rope_base, reasons) == (100_000.0, {})
    assert different == {"latency": "it has other weights or constants than the entry before it"}
    assert nothing == found
    assert list(both) == ["latency"]
    assert both["latency"].startswith("not a Llama: node layer_norm_11 (aten.layer_norm) stands where")
