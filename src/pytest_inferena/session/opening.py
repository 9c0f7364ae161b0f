"""The opening of a session: when all is collected and there are cells in it."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_inferena.collect.offer import offer
from pytest_inferena.collect.registry import read
from pytest_inferena.collect.selection import arrange, check_expression, target_of, unknown
from pytest_inferena.collect.settings import Settings, pairs
from pytest_inferena.collect.shipped import with_interpreters, with_shipped
from pytest_inferena.collect.source import Source
from pytest_inferena.session.controller import Session
from pytest_inferena.session.handover import give
from pytest_inferena.session.plan import cells

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_inferena.collect.registry import Registry

SESSION: pytest.StashKey[Session] = pytest.StashKey()


@contextlib.contextmanager
def told(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    """An xdist worker tells what is wrong to the process that distributes, which would take it for a crash."""
    try:
        yield
    except pytest.UsageError as error:
        if not hasattr(config, "workerinput"):
            raise
        items.clear()
        give(config, {"error": str(error)})


def before(config: pytest.Config, items: list[pytest.Item], *, collected: bool) -> None:
    """Before others see the tests: markers are declared, and pytest-benchmark is told that cells use its fixture.

    Args:
        config: pytest's.
        items: The tests.
        collected: Whether there are cells among them. If not, `-m` may still name a marker of ours.

    Raises:
        pytest.UsageError: what is registered cannot be read, or `-m` names no marker.
    """
    if collected or unknown(config):
        _read(config)
    if collected:
        check_expression(config)
        _use_benchmark(config, items)


def after(config: pytest.Config, items: list[pytest.Item]) -> None:
    """After others have chosen tests: if cells are left, there is a session, and they are arranged.

    Raises:
        pytest.UsageError: an option, or a cell's marker, is wrong.
    """
    if config.getoption("inferena_dry_run") or any(map(_asks, items)):
        registry = _read(config)
        session = _open(config, registry)
        session.leave_to_codspeed(items)
        arrange(config, items)
        if hasattr(config, "workerinput"):
            files = {item.nodeid: str(item.path) for item in items}
            found = {
                nodeid: (target.id, cell.metric, files[nodeid])
                for nodeid, target, cell in cells(items, session.settings)
            }
            give(config, {**registry.places(), "cells": found})


def _use_benchmark(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Say that cells use pytest-benchmark's fixture, where that plugin is there."""
    if config.pluginmanager.hasplugin("pytest-benchmark"):
        for item in items:
            if target_of(item) is not None and "benchmark" not in item.fixturenames:  # type: ignore[attr-defined]
                item.fixturenames.append("benchmark")  # type: ignore[attr-defined] # the list is its function's


def _read(config: pytest.Config) -> Registry:
    known = offer(config)
    if known.error:
        raise pytest.UsageError(known.error)
    return known.registry


def _asks(item: pytest.Item) -> bool:
    return "_inferena_target" in getattr(item, "fixturenames", ())


def _open(config: pytest.Config, registry: Registry) -> Session:
    session = config.stash[SESSION] = Session(config, Settings.from_config(config), registry)
    config.pluginmanager.register(session, "inferena-session")
    if session.settings.base is not None and session.controller and not config.option.collectonly:
        from pytest_inferena.session.gate import Gate

        config.pluginmanager.register(Gate(session), "inferena-gate")
    return session


def session_of(config: pytest.Config) -> Session:
    """The session of this run. Where there are no cells, the first test of one's own opens it."""
    return config.stash[SESSION] if SESSION in config.stash else _open(config, engines_of(config))


def engines_of(config: pytest.Config) -> Registry:
    """What tests of one's own can name: all that is registered, and this project's engines.

    Raises:
        pytest.UsageError: what is registered cannot be read.
    """
    return with_shipped(_read(config), pairs("python", config))


def follow(config: pytest.Config, told: Mapping[str, Any]) -> None:
    """Open a session in the process that distributes, when the first xdist worker tells of cells.

    Raises:
        pytest.UsageError: what the worker told is that something is wrong.
    """
    from pytest_inferena.session.distributed import Controller

    if "error" in told:
        raise pytest.UsageError(told["error"])
    if not config.pluginmanager.hasplugin("inferena-session"):
        registry = read((Source.parse(one, None) for one in told["models"]), map(Path, told["adapters"]))
        session = _open(config, with_interpreters(registry, pairs("python", config)))
        config.pluginmanager.register(Controller(session, told["cells"]), "inferena-controller")
