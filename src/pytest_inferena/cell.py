"""Cells: model × framework × backend × metric, their ids, markers, and whether they can run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_inferena.framework import METRICS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_inferena.framework import Backend, Framework, KnownIssue
    from pytest_inferena.model import Model
    from pytest_inferena.registry import Registry

ASKED_FOR = {
    "large": "models that need a big machine; deselected unless asked for",
    "tuned": "engines that search for fast kernels, for minutes or hours; deselected unless asked for",
}
"""Markers of cells that run only where `-m` or an option of the same name asks for them."""


@dataclass(frozen=True)
class Target:
    """What one worker serves: a model on a framework's backend; the parameter of every cell's test."""

    model: Model
    framework: Framework
    backend: Backend

    @property
    def id(self) -> str:
        """`smollm2-onnxruntime-cpu`; the device follows where it is not in the backend's name and not the CPU."""
        parts = [self.model.name, self.framework.name, self.backend.name]
        if self.backend.device not in {"cpu", self.backend.name}:
            parts.append(self.backend.device)
        return "-".join(parts)

    def marks(self) -> list[str]:
        """Names of the markers: model, framework, backend, device, language."""
        names = [
            self.model.name, self.framework.name, self.backend.name, self.backend.device, self.framework.language
        ]  # fmt: skip
        asked = [name for name, is_set in (("large", self.model.large), ("tuned", self.backend.tuned)) if is_set]
        return list(dict.fromkeys([*names, *asked]))

    def entry(self, metric: str) -> str:
        """The entry of the Program that a metric runs."""
        if metric == "training":
            return "joint" if self.framework.training == "joint" else "training"
        return "latency" if metric == "latency" else "inference"

    def entries(self) -> list[str]:
        """All entries this target may run."""
        metrics = [metric for metric in METRICS if not self.absent(metric)]
        return list(dict.fromkeys(self.entry(metric) for metric in metrics))

    def absent(self, metric: str) -> str:
        """Why the engine does not have a metric; "" if it has."""
        for item in self.framework.absent:
            if item.metric == metric and item.model in {None, self.model.name}:
                return item.reason
        if metric == "training" and self.framework.training == "none":
            return f"{self.framework.title} does not train"
        return ""

    def known_issue(self, metric: str) -> KnownIssue | None:
        """The upstream bug that makes a cell fail with the version that is installed."""
        from packaging.specifiers import SpecifierSet

        versions, _ = self.framework.installed()
        for issue in self.framework.known_issues:
            if issue.metric != metric or issue.model not in {None, self.model.name}:
                continue
            distribution = issue.distribution or next(iter(self.framework.requirements), "")
            if not issue.versions or versions.get(distribution, "") in SpecifierSet(issue.versions, prereleases=True):
                return issue
        return None


def targets(registry: Registry) -> Iterator[Target]:
    """Every model on every backend of every framework, in the order of their registration."""
    for model in registry.models.values():
        for framework in registry.frameworks.values():
            for backend in framework.backends:
                yield Target(model, framework, backend)


def markers(registry: Registry) -> dict[str, str]:
    """Every marker with its description; what this project declares, from one list."""
    described: dict[str, str] = {metric: f"cells of the metric {metric}" for metric in METRICS}
    described |= ASKED_FOR
    for target in targets(registry):
        described.setdefault(target.model.name, f"cells of the model {target.model.title}")
        described.setdefault(target.framework.name, f"cells of the framework {target.framework.title}")
        described.setdefault(target.backend.name, f"cells of the backend {target.backend.name}")
        described.setdefault(target.backend.device, f"cells on the device {target.backend.device}")
        described.setdefault(target.framework.language, f"frameworks called from {target.framework.language}")
    return described
