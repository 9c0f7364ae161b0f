"""The runtime's execution providers: which a backend uses, how it is set, and how much the CPU does in its place."""

from __future__ import annotations

from typing import Any, NamedTuple

import onnxruntime as ort

from pytest_inferena import Unsupported

CPU = "CPUExecutionProvider"


class Provider(NamedTuple):
    """A provider, with options that keep float32 what it is."""

    name: str
    options: dict[str, str]
    plugin: str = ""
    """A module that brings it as a library of its own."""
    before_cpu: tuple[str, ...] = ()
    """Providers that take what it does not."""


_CUDA = Provider("CUDAExecutionProvider", {"use_tf32": "0"})
PROVIDERS = {
    "cpu": Provider(CPU, {}),
    "cuda": _CUDA,
    "tensorrt": Provider("TensorrtExecutionProvider", {}, before_cpu=(_CUDA.name,)),
    "coreml": Provider("CoreMLExecutionProvider", {"ModelFormat": "MLProgram"}),
    "directml": Provider("DmlExecutionProvider", {}),
    "webgpu": Provider("WebGpuExecutionProvider", {}, plugin="onnxruntime_ep_webgpu"),
}
"""Backend → its provider."""


def find(backend: str) -> tuple[Provider, str]:
    """A backend's provider, and what the runtime says of its device.

    Raises:
        Unsupported: this build of the runtime lacks it, or it has no device here.
    """
    provider = PROVIDERS[backend]
    if provider.plugin:
        return provider, _kind(_register(provider)[0])
    if provider.name not in ort.get_available_providers():
        raise Unsupported(
            f"ONNX Runtime {ort.__version__} has no {provider.name}: inferena setup onnxruntime --backend {backend}"
        )
    return provider, ""


def session(model: bytes, options: ort.SessionOptions, provider: Provider) -> ort.InferenceSession:
    """A session on a provider. What that has no kernel for goes to the CPU; without it there is no session.

    The runtime would retry all of it on the CPU if the provider fails; `enable_fallback` forbids that.
    """
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    if provider.plugin:
        options.add_provider_for_devices(_register(provider)[:1], provider.options)
        return ort.InferenceSession(model, options, enable_fallback=0)
    if provider.name == "DmlExecutionProvider":
        options.enable_mem_pattern = False  # it refuses to run with it
    taken = {one.name: one.options for one in PROVIDERS.values()}
    names = [provider.name, *provider.before_cpu]
    return ort.InferenceSession(model, options, [(name, taken[name]) for name in names], enable_fallback=0)


def on_cpu(made: ort.InferenceSession) -> int:
    """How many nodes of a session the CPU runs, as the session itself says."""
    return sum(len(part.get_nodes()) for part in made.get_provider_graph_assignment_info() if part.ep_name == CPU)


def _register(provider: Provider) -> list[Any]:
    """The devices of a provider that is a library of its own."""
    import importlib

    plugin = importlib.import_module(provider.plugin)
    devices = [one for one in ort.get_ep_devices() if one.ep_name == provider.name]
    if not devices:
        ort.register_execution_provider_library(provider.plugin, plugin.get_library_path())
        devices = [one for one in ort.get_ep_devices() if one.ep_name == provider.name]
    if not devices:
        raise Unsupported(f"{provider.name} finds no GPU: install its driver for Vulkan, Metal or Direct3D 12")
    return devices


def _kind(device: Any) -> str:
    is_cpu = device.device.type == ort.OrtHardwareDeviceType.CPU
    return "a software device" if is_cpu else f"{device.device.vendor} {device.device.device_id:#06x}"
