"""Where PyTorch runs: its name for a device, whether that is there, and float32 that is float32."""

from __future__ import annotations

import torch

from pytest_inferena import Unsupported

NAMES = {"rocm": "cuda"}
"""PyTorch calls AMD's devices by NVIDIA's name."""


def device_of(kind: str) -> torch.device:
    """The device of a kind that adapter.toml names.

    Raises:
        Unsupported: this torch is not built for it, or finds none.
    """
    if lacking := {"cuda": _cuda, "rocm": _rocm, "mps": _mps, "xpu": _xpu}.get(kind, str)():
        raise Unsupported(f"torch {torch.__version__} {lacking}")
    _exact()
    return torch.device(NAMES.get(kind, kind))


def name_of(device: torch.device) -> str:
    """What PyTorch says of the processor or the device."""
    if device.type == "cpu":
        return f"CPU {torch.backends.cpu.get_cpu_capability()}"
    if device.type == "mps":
        return "Apple's GPU (MPS)"
    release = torch.version.hip or torch.version.cuda
    platform = f", {'ROCm' if torch.version.hip else 'CUDA'} {release}" if device.type == "cuda" else ""
    return f"{torch.get_device_module(device).get_device_name(device)}{platform}"


def _exact() -> None:
    """Products and convolutions in float32: cuDNN's convolutions are in TF32 unless they are told.

    cuDNN has an older switch too, which has to say the same: torch.export reads all of them.
    """
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    torch.backends.cudnn.conv.fp32_precision = "ieee"
    torch.backends.cudnn.rnn.fp32_precision = "ieee"


def _cuda() -> str:
    if torch.version.cuda is None:
        built = f"is built for ROCm {torch.version.hip}" if torch.version.hip else "is built without CUDA"
        return f"{built}: install a torch with CUDA, https://pytorch.org/get-started/locally"
    return _found(f"CUDA {torch.version.cuda}")


def _rocm() -> str:
    if torch.version.hip is None:
        return "is built without ROCm: install a torch with ROCm, https://pytorch.org/get-started/locally"
    return _found(f"ROCm {torch.version.hip}")


def _found(platform: str) -> str:
    if torch.cuda.is_available():
        return ""
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return f"is built for {platform}: {str(error).splitlines()[0]}"
    return f"is built for {platform} and finds no device"


def _mps() -> str:
    if not torch.backends.mps.is_built():
        return "is built without MPS: install a torch for macOS on Apple silicon"
    return "" if torch.backends.mps.is_available() else "finds no device for MPS: it needs macOS 14 or newer"


def _xpu() -> str:
    if not torch.xpu._is_compiled():  # noqa: SLF001 - the only way to tell it from a missing driver
        return "is built without XPU: install a torch for Intel's GPUs, https://pytorch.org/get-started/locally"
    return "" if torch.xpu.is_available() else "finds no device for XPU: install Intel's driver, level-zero"
