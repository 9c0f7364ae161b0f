"""PyTorch: the Program as a torch module, compiled just in time (`inductor`), ahead (`aot`) or not (`eager`).

On other devices than the CPU a backend is called by the device: `cuda` is inductor there, `cuda_eager` is eager.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from pytest_inferena import Adapter as Base
from pytest_inferena import Unsupported
from pytest_inferena.worker import aten
from pytest_inferena.worker.custom import register

from . import devices

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from pytest_inferena import Entry, Program, Setup


INDUCTOR: Mapping[str, Mapping[str, str]] = {
    **{name: {} for name in ("inductor", "cuda", "rocm", "xpu")},
    "cuda_tuned": {"mode": "max-autotune"},  # kernels chosen by timing them, and CUDA graphs
}
"""Backends that torch.compile serves, with its options."""


class Adapter(Base):
    """Parameters are leaves with gradients, as in any training script; inputs stay on the device."""

    parameters: dict[str, torch.nn.Parameter]

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.device = devices.device_of(setup.device)
        self.wait: Callable[[], None] = torch.get_device_module(self.device).synchronize

    def load(self, program: Program, weights: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Make parameters of the arrays."""
        torch.set_num_threads(self.setup.threads)
        register(program)
        self.parameters = {
            name: torch.nn.Parameter(self.tensor(weights[name]), requires_grad=name in program.trainable)
            for name in program.parameters
        }
        self.wait()

    def tensor(self, array: np.ndarray[Any, Any]) -> torch.Tensor:
        """An array on the device."""
        return torch.from_numpy(array).to(self.device)

    def compile(self, entry: Entry) -> Inference | Training:
        """Hand the entry to torch.compile or to AOTInductor, or take it as it is."""
        arrays = entry.arrays("inputs")
        inputs = [self.tensor(arrays[spec.name]) for spec in entry.inputs]
        module: Callable[..., Any] = aten.to_module(entry, self.parameters).to(self.device)
        if (options := INDUCTOR.get(self.setup.backend)) is not None:
            module = torch.compile(module, fullgraph=True, dynamic=False, **options)
        elif self.setup.backend == "aot":
            module = self._ahead(module, inputs, entry.name)
        if entry.name != "training":
            return Inference(module, inputs, list(entry.outputs), self.wait)
        trained = {name: self.parameters[name] for name in entry.parameters if self.parameters[name].requires_grad}
        return Training(module, inputs, trained, self.wait)

    def _ahead(self, module: torch.nn.Module, inputs: list[torch.Tensor], name: str) -> Callable[..., Any]:
        """Export, compile to a library that holds the weights, and load it again, as a deployment would."""
        if name == "training":
            raise Unsupported("AOTInductor compiles exported programs for inference; torch.export has no backward pass")
        with torch.no_grad():
            exported = torch.export.export(module, tuple(inputs))
        package = torch._inductor.aoti_compile_and_package(  # noqa: SLF001 - documented under this name
            exported, package_path=str(self.setup.scratch / f"{name}.pt2")
        )
        loaded: Callable[..., Any] = torch._inductor.aoti_load_package(package)  # noqa: SLF001
        return loaded

    def describe(self) -> str:
        """The backend, and what PyTorch says of the processor or the device."""
        return f"{self.setup.backend} on {devices.name_of(self.device)}, {torch.get_num_threads()} threads"


class Inference:
    """A forward pass without gradients."""

    def __init__(
        self, module: Callable[..., Any], inputs: list[torch.Tensor], names: list[str], wait: Callable[[], None]
    ) -> None:
        self.module, self.inputs, self.names, self.wait = module, inputs, names, wait
        self.results: tuple[torch.Tensor, ...] = ()

    def __call__(self) -> None:
        """Run the module."""
        with torch.no_grad():
            self.results = self.module(*self.inputs)

    def synchronize(self) -> None:
        """Wait for the device; the CPU is done when the call returns."""
        self.wait()

    def outputs(self) -> dict[str, np.ndarray[Any, Any]]:
        """Outputs by name."""
        return {name: result.numpy(force=True) for name, result in zip(self.names, self.results, strict=True)}


class Training(Inference):
    """Loss, forward and backward; the gradients are new tensors in every step, as after zero_grad()."""

    def __init__(
        self,
        module: Callable[..., Any],
        inputs: list[torch.Tensor],
        trained: dict[str, torch.nn.Parameter],
        wait: Callable[[], None],
    ) -> None:
        super().__init__(module, inputs, ["loss", *(f"grad:{name}" for name in trained)], wait)
        self.trained = list(trained.values())

    def outputs(self) -> dict[str, np.ndarray[Any, Any]]:
        """The loss and the gradients; a parameter that only chooses, by argmax or a comparison, has none."""
        named = zip(self.names, self.results, strict=True)
        return {name: result.numpy(force=True) for name, result in named if result is not None}

    def __call__(self) -> None:
        """Run forward and backward; the last step's gradients are dropped first, as zero_grad() does."""
        self.results = ()
        (loss,) = self.module(*self.inputs)
        self.results = (loss, *torch.autograd.grad(loss, self.trained, allow_unused=True))
