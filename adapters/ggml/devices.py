"""Where ggml computes: on the CPU, or on a device that its library was built for."""

from __future__ import annotations

from typing import Any

from ggml import ggml

from pytest_inferena import Unsupported

FEATURES = ("avx2", "fma", "f16c", "avx512", "neon", "dotprod", "sve", "llamafile")
NAMES = {"vulkan": b"Vulkan0"}
"""A kind of device → its first one, as ggml calls it; the others are hidden from this process."""


def opened(kind: str, threads: int) -> Any:
    """A backend on the CPU, or on the device of a kind.

    Raises:
        Unsupported: this library is not built for it, or finds none.
    """
    if kind == "cpu":
        backend = ggml.ggml_backend_cpu_init()
        ggml.ggml_backend_cpu_set_n_threads(backend, threads)
        return backend
    return ggml.ggml_backend_dev_init(_device(kind), None)


def name_of(kind: str, threads: int) -> str:
    """The device, or what the CPU's kernels were built with.

    Raises:
        Unsupported: as `opened`.
    """
    if kind == "cpu":
        built = [name for name in FEATURES if getattr(ggml, f"ggml_cpu_has_{name}")()]
        return f"CPU, built with {' '.join(built)}, {threads} threads"
    return f"{kind}: {ggml.ggml_backend_dev_description(_device(kind)).decode()}"


def check(backend: Any, graph: Any) -> None:
    """Raise Unsupported for a node that a backend has no kernel for: to compute it would end the process."""
    for index in range(ggml.ggml_graph_n_nodes(graph)):
        node = ggml.ggml_graph_node(graph, index)
        if not ggml.ggml_backend_supports_op(backend, node):
            kinds = [ggml.ggml_type_name(source.contents.type).decode() for source in node.contents.src if source]
            raise Unsupported(
                f"unsupported operator {ggml.ggml_op_desc(node).decode()}({', '.join(kinds)}): "
                f"ggml's {ggml.ggml_backend_name(backend).decode()} has no kernel for it"
            )


def _device(kind: str) -> Any:
    device = ggml.ggml_backend_dev_by_name(NAMES[kind])
    if not device:
        raise Unsupported(
            f"ggml {ggml.ggml_version().decode()} is built without {kind}, or finds no device for it: "
            f"inferena setup ggml --backend {kind}"
        )
    return device
