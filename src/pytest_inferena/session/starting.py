"""A worker's beginning: it is started in a folder of its own, and says hello."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pytest_inferena.engines.limits import Limits
from pytest_inferena.processes.client import Launch, Worker
from pytest_inferena.worker.protocol import VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_inferena.engines.framework import Backend, Framework


def start(  # noqa: PLR0913, PLR0917 - all that makes an environment
    framework: Framework, backend: Backend, threads: int, folder: Path,
    kept: Path | None = None, passed: Mapping[str, str] = MappingProxyType({}), limits: Limits | None = None,
) -> Worker:  # fmt: skip
    """Start a framework's worker in a folder of its own. Its kernels may go to another folder.

    Args:
        framework: what it runs.
        backend: one of the framework's.
        threads: its budget.
        folder: a new one.
        kept: where its kernels stay; None: nowhere.
        passed: variables of the environment that the user lets through.
        limits: what it may take; None: what is usual on this machine.

    Raises:
        WorkerFailed: its program cannot be started.
    """
    scratch = folder / "scratch"
    scratch.mkdir(parents=True)
    env = {**passed, **framework.environment(backend, scratch, threads, kept)}
    return Worker(Launch(framework.command(backend), threads, env, folder, limits or Limits.of(None, framework.limits)))


def greet(
    worker: Worker, backend: Backend, threads: int, deadline: float, exchange: Path | None = None
) -> dict[str, Any]:
    """Say hello: the worker imports its framework and answers with its versions.

    Raises:
        WorkerFailed: it cannot.
    """
    return worker.ask(
        "hello", deadline, protocol=VERSION, backend=backend.name, device=backend.device, threads=threads,
        scratch=str(worker.folder / "scratch"), exchange=str(exchange) if exchange else None,
    )  # fmt: skip
