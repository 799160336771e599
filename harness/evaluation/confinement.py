"""Which methods of a run stay in boxes (``--confine``): there they are imported, trained and asked."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.core import registry
from harness.core.config import RunConfig, RunSettings
from harness.core.errors import HarnessError, PluginError
from harness.core.files import cache_root
from harness.distributed import launch
from harness.method.box.box import BoxError, confinement
from harness.method.box.confined import stand_in
from harness.method.box.hidden import beside, modules_of, shared_by
from harness.method.contract import Method

OWN = "unconfined: a method of this distribution"
"""What the manifest says of them by default."""


def method_class(name: str, config: RunConfig) -> tuple[type[Method[Any]], str]:
    """The class of a registered method, or what stands for it, and what a manifest says of that.

    Raises:
        UnknownNameError: there is no such method.
        PluginError: it cannot be loaded.
        HarnessError: ``--confine on``, and it cannot be confined.
    """
    target = registry.target("methods", name)
    reason = _unconfined(name, config.confine)
    if reason:
        return registry.load("methods", name), f"unconfined: {reason}"
    try:
        stand = stand_in(target, tuple(_hidden(target, config)))
        return stand, f"in a box ({confinement()}){_but(target, config)}"
    except BoxError as error:
        raise PluginError(
            f"method {name} cannot be loaded: {error.message}",
            error.hint or f"see {target.partition(':')[0]}",
        ) from error


def _unconfined(name: str, confine: str) -> str:
    """Why a method is not confined; empty where it is."""
    if confine == "off":
        return "--confine off"
    if confine == "auto" and registry.is_own("methods", name):
        return OWN.partition(": ")[2]
    if registry.is_live("methods", name):
        reason = "a class of this process alone"
    elif not confinement():
        reason = "this system confines no process"
    else:
        return ""
    if confine == "on":
        raise HarnessError(
            f"--confine on: {name} cannot be confined: {reason}", "docs/audits.md says where methods can be"
        )
    return reason


def _hidden(target: str, config: RunConfig) -> Iterator[str]:
    """Files and folders that no method of a run reads, except what its own box is given."""
    dataset, module = registry.load("datasets", config.dataset), target.partition(":")[0]
    yield from modules_of(dataset, module)
    yield from beside(dataset, module)
    yield from (str(Path(folder).resolve()) for folder in (config.store, cache_root(), config.root) if folder)
    yield from (os.path.abspath(path) for path in _paths(config.set.get(config.dataset, {})))


def _but(target: str, config: RunConfig) -> str:
    """What a box cannot hide from a method; empty where it hides all."""
    shared = shared_by(registry.load("datasets", config.dataset), target.partition(":")[0])
    return f", with code of the data set: {', '.join(sorted(shared))}" if shared else ""


def _paths(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for each in value.values():
            yield from _paths(each)
    elif isinstance(value, str) and os.path.exists(value):
        yield value


def remark(name: str, label: str, confinement_of: str) -> str:
    """What tables say of a row whose plugin ran outside a box; empty of this distribution's own methods.

    Args:
        name: registered name of the method.
        label: of the row.
        confinement_of: as ``method_class`` gives it.
    """
    kind, _, reason = confinement_of.partition(": ")
    foreign = not registry.is_own("methods", name) and not registry.is_live("methods", name)
    return f"{label}: its code was not confined ({reason})" if foreign and kind == "unconfined" else ""


def settled(settings: RunSettings) -> RunSettings:
    """Settings of a run whose methods can be confined as they say.

    Raises:
        HarnessError: ``--confine on`` with several processes that train a method together.
    """
    if launch.together(settings.execution) == 1 or settings.config.confine == "off":
        return settings
    if settings.config.confine == "on":
        raise HarnessError(
            "--confine on: several processes that train together are not confined",
            "leave out --devices and --nodes, or say --confine off",
        )
    return settings.replaced(confine="off")
