"""PyTorch: the Program as a torch module, compiled just in time (`inductor`), ahead (`aot`) or not (`eager`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from pytest_inferena import Adapter as Base
from pytest_inferena import Unsupported
from pytest_inferena.worker import aten
from pytest_inferena.worker.custom import register

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from pytest_inferena import Entry, Program


class Adapter(Base):
    """Parameters are leaves with gradients, as in any training script; inputs stay on the device."""

    parameters: dict[str, torch.nn.Parameter]

    def load(self, program: Program, weights: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Make parameters of the arrays."""
        torch.set_num_threads(self.setup.threads)
        register(program)
        self.parameters = {
            name: torch.nn.Parameter(self.tensor(weights[name]), requires_grad=name in program.trainable)
            for name in program.parameters
        }

    def tensor(self, array: np.ndarray[Any, Any]) -> torch.Tensor:
        """An array on the device."""
        return torch.from_numpy(array).to(self.setup.device)

    def compile(self, entry: Entry) -> Inference | Training:
        """Hand the entry to torch.compile or to AOTInductor, or take it as it is."""
        arrays = entry.arrays("inputs")
        inputs = [self.tensor(arrays[spec.name]) for spec in entry.inputs]
        module: Callable[..., Any] = aten.to_module(entry, self.parameters).to(self.setup.device)
        if self.setup.backend == "inductor":
            module = torch.compile(module, fullgraph=True, dynamic=False)
        elif self.setup.backend == "aot":
            module = self._ahead(module, inputs, entry.name)
        if entry.name != "training":
            return Inference(module, inputs, list(entry.outputs))
        trained = {name: self.parameters[name] for name in entry.parameters if self.parameters[name].requires_grad}
        return Training(module, inputs, trained)

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
        capability = torch.backends.cpu.get_cpu_capability()
        where = f"CPU {capability}" if self.setup.device == "cpu" else torch.cuda.get_device_name()
        return f"{self.setup.backend} on {where}, {torch.get_num_threads()} threads"


class Inference:
    """A forward pass without gradients."""

    def __init__(self, module: Callable[..., Any], inputs: list[torch.Tensor], names: list[str]) -> None:
        self.module, self.inputs, self.names = module, inputs, names
        self.results: tuple[torch.Tensor, ...] = ()

    def __call__(self) -> None:
        """Run the module."""
        with torch.no_grad():
            self.results = self.module(*self.inputs)

    def synchronize(self) -> None:
        """Wait for the device; the CPU is done when the call returns."""
        if self.inputs[0].is_cuda:
            torch.cuda.synchronize()

    def outputs(self) -> dict[str, np.ndarray[Any, Any]]:
        """Outputs by name."""
        return {name: result.numpy(force=True) for name, result in zip(self.names, self.results, strict=True)}


class Training(Inference):
    """Loss, forward and backward; the gradients are new tensors in every step, as after zero_grad()."""

    def __init__(
        self, module: Callable[..., Any], inputs: list[torch.Tensor], trained: dict[str, torch.nn.Parameter]
    ) -> None:
        super().__init__(module, inputs, ["loss", *(f"grad:{name}" for name in trained)])
        self.trained = list(trained.values())

    def __call__(self) -> None:
        """Run forward and backward; the last step's gradients are dropped first, as zero_grad() does."""
        self.results = ()
        (loss,) = self.module(*self.inputs)
        self.results = (loss, *torch.autograd.grad(loss, self.trained))
