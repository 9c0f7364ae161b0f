"""llama.cpp: a Llama recognised in the Program, written as GGUF in float32; all logits of a prompt in one pass."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import llama_cpp as api
import numpy as np
from llama_cpp._ggml import libggml

from pytest_inferena import Exchange, Unsupported, refuse

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_inferena import Entry, Program
    from pytest_inferena.program.checkpoint import Llama

Array = np.ndarray[Any, Any]
MODEL = "model.gguf"
NAMES = {
    "attention_norm": "attn_norm",
    "query": "attn_q",
    "key": "attn_k",
    "value": "attn_v",
    "output": "attn_output",
    "feed_forward_norm": "ffn_norm",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
}
"""A layer's weight → its name in GGUF."""


class Adapter(Exchange):
    """Opening the model and making a context for an entry is what compiling is."""

    model: Any = None

    @classmethod
    def prepare(cls, program: Program, folder: Path) -> None:
        """Write the model, or ENTRY.unsupported with the reason why there is none."""
        from safetensors.numpy import load_file

        from pytest_inferena.program.checkpoint import llama, recognise

        found, reasons = recognise(program, llama)
        for name, reason in reasons.items():
            refuse(folder, name, f"llama.cpp runs architectures that it knows: {reason}")
        if found is not None:
            write_gguf(folder / MODEL, found, load_file(program.folder / "weights.safetensors"))

    def build(self, entry: Entry) -> Step:
        """Open the model, once, and make a context of the size of the entry's prompt."""
        if self.model is None:
            api.llama_log_set(CALLBACK, None)
            parameters = api.llama_model_default_params()
            parameters.n_gpu_layers = 0
            if self.setup.device != "cpu":
                self.devices = (ctypes.c_void_p * 2)(device(self.setup.device), None)
                parameters.devices, parameters.n_gpu_layers = ctypes.addressof(self.devices), -1  # all of them
            self.model = api.llama_model_load_from_file(str(self.exchange / MODEL).encode(), parameters)
            if self.model is None:
                raise RuntimeError("llama.cpp cannot open the model that was prepared: " + "".join(LOG[-5:]))
        return Step(self.model, entry, self.setup.threads, fallback=int(self.setup.device != "cpu"))

    def describe(self) -> str:
        """The device, or the features of the CPU's that the library was built with and finds here."""
        if self.setup.device != "cpu":
            named = libggml.ggml_backend_dev_description(ctypes.c_void_p(device(self.setup.device)))
            return f"llama.cpp, {self.setup.device}: {ctypes.string_at(named).decode()}"
        name, _, features = api.llama_print_system_info().decode().partition(" : ")
        found = [feature.removesuffix(" = 1") for feature in features.split(" | ") if feature.endswith(" = 1")]
        return f"llama.cpp, {name} with {' '.join(found)}, {self.setup.threads} threads"


DEVICES = {"vulkan": b"Vulkan0"}
"""A kind of device → its first one, as ggml calls it; the others are hidden from this process."""
libggml.ggml_backend_dev_by_name.restype = ctypes.c_void_p
libggml.ggml_backend_dev_description.restype = ctypes.c_void_p


def device(kind: str) -> int:
    """The address of the device of a kind.

    Raises:
        Unsupported: this library is not built for it, or finds none.
    """
    found: int | None = libggml.ggml_backend_dev_by_name(DEVICES[kind])
    if found is None:
        raise Unsupported(
            f"llama.cpp is built without {kind}, or finds no device for it: inferena setup llamacpp --backend {kind}"
        )
    return found


LOG: list[str] = []
"""What the library said."""


def keep(level: int, text: bytes, user_data: object) -> None:
    """Keep warnings and errors, which have level 3 and more."""
    del user_data
    if level >= 3:
        LOG.append(text.decode(errors="replace"))


CALLBACK = api.llama_log_callback(keep)


class Step:
    """A context and a batch: token ids (B, T) to logits of all positions, (B, T, vocabulary).

    On a GPU there is a fallback of one operator: llama.cpp keeps the embedding of the tokens on the CPU.
    """

    def __init__(self, model: Any, entry: Entry, threads: int, fallback: int) -> None:
        self.fallback = fallback
        [tokens] = entry.arrays("inputs").values()
        [(self.name, tensor)] = entry.outputs.items()
        self.shape = entry.specs[tensor].shape
        self.context = api.llama_init_from_model(model, context_parameters(len(tokens), tokens.shape[1], threads))
        if self.context is None:
            raise RuntimeError("llama.cpp makes no context: " + "".join(LOG[-5:]))
        self.memory = api.llama_get_memory(self.context)
        self.batch = prompt(tokens)

    def __call__(self) -> None:
        """Forget the last run and decode the prompt."""
        api.llama_memory_clear(self.memory, False)
        if status := api.llama_decode(self.context, self.batch):
            raise RuntimeError(f"llama_decode failed with {status}: " + "".join(LOG[-5:]))

    def synchronize(self) -> None:
        """Wait until the logits are there."""
        api.llama_synchronize(self.context)

    def outputs(self) -> dict[str, Array]:
        """The logits."""
        found = api.llama_get_logits(self.context)
        return {self.name: np.ctypeslib.as_array(found, self.shape).copy()}


def context_parameters(batch: int, length: int, threads: int) -> Any:
    """A context in which a batch of prompts is one step, and everything is float32."""
    parameters = api.llama_context_default_params()
    parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = batch * length
    parameters.n_seq_max = batch
    parameters.n_threads = parameters.n_threads_batch = threads
    parameters.type_k = parameters.type_v = api.GGML_TYPE_F32
    parameters.flash_attn_type = api.LLAMA_FLASH_ATTN_TYPE_DISABLED  # it casts keys and values to 16 bits
    parameters.no_perf = True
    return parameters


def prompt(tokens: Array) -> Any:
    """Token ids (B, T) as B sequences, of which all logits are wanted."""
    length = tokens.shape[1]
    made = api.llama_batch_init(tokens.size, 0, 1)
    made.n_tokens = tokens.size
    for index, token in enumerate(tokens.flatten()):
        made.token[index], made.pos[index] = int(token), index % length
        made.n_seq_id[index], made.seq_id[index][0] = 1, index // length
        made.logits[index] = True
    return made


def write_gguf(file: Path, model: Llama, weights: Mapping[str, Array]) -> None:
    """Write a model without a tokenizer; a head that is the embedding is left out, as GGUF wants it."""
    from gguf import GGUFWriter

    writer = GGUFWriter(file, "llama")
    writer.add_vocab_size(model.vocabulary)
    writer.add_tokenizer_model("none")
    writer.add_context_length(1 << 20)  # of no effect: contexts are made as long as the prompt is
    writer.add_embedding_length(model.width)
    writer.add_block_count(len(model.layers))
    writer.add_feed_forward_length(model.feed_forward)
    writer.add_head_count(model.heads)
    writer.add_head_count_kv(model.groups)
    writer.add_key_length(model.head_width)
    writer.add_value_length(model.head_width)
    writer.add_layer_norm_rms_eps(model.epsilon)
    writer.add_rope_dimension_count(model.head_width)
    writer.add_rope_freq_base(model.rope_base or 1.0)
    writer.add_file_type(0)
    writer.add_tensor("token_embd.weight", weights[model.embedding])
    writer.add_tensor("output_norm.weight", weights[model.norm])
    if model.head != model.embedding:
        writer.add_tensor("output.weight", weights[model.head])
    for index, layer in enumerate(model.layers):
        for ours, theirs in NAMES.items():
            array, heads = weights[getattr(layer, ours)], {"query": model.heads, "key": model.groups}.get(ours)
            writer.add_tensor(f"blk.{index}.{theirs}.weight", interleaved(array, heads) if heads else array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def interleaved(weight: Array, heads: int) -> Array:
    """Rows of queries or keys (H · D, W): llama.cpp rotates pairs (2i, 2i + 1), the Program (i, i + D / 2)."""
    rows, width = weight.shape
    return np.ascontiguousarray(weight.reshape(heads, 2, -1, width).swapaxes(1, 2)).reshape(rows, width)
