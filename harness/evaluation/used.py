"""Rows of plugins stand as long as the files stay that the plugin used: other files, another cell."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.config import RunConfig
from harness.core.files import cache_root, sealed_facts
from harness.core.registry import is_ours
from harness.core.used import present
from harness.method.contract import Method
from harness.method.used import runs_here, used_by, used_by_method
from harness.metrics.base import Metric
from harness.store.cell import OF_CELL, Cell
from harness.store.used import listed

if TYPE_CHECKING:
    from harness.evaluation.trial import Trial


def current_cell(trial: Trial, cell_of: Callable[[dict[str, Any]], Cell]) -> tuple[Cell, list[str]]:
    """The cell of a trial, and the files because of which it is not an earlier one.

    A plugin that used other files than there are now has another cell. Where a file is what it was before,
    so is the cell.

    Args:
        trial: a method with a seed.
        cell_of: gives the cell of an identity that has this beside everything else.
    """
    cell, changes = cell_of({}), list[str]()
    if is_ours(trial.entry.method_class):
        return cell, changes
    visited: set[Path] = set()
    used: dict[str, str] = {}
    while cell.directory not in visited and (files := cell.used.outdated()):
        visited.add(cell.directory)
        changes = cell.used.changed()
        used |= files
        cell = cell_of({"used": used})
    return cell, changes


def begin(trial: Trial, changes: list[str]) -> None:
    """Before a plugin trains: say why, and set aside what nothing tells the files of."""
    cell = trial.cell
    if is_ours(trial.entry.method_class):
        return
    if cell.used.is_lost(expected=cell.has_checkpoint() or cell.has_answers()) or cell.used.outdated():
        cell.begin_anew("which files its method used is not known")
    if changes and not cell.has_checkpoint():
        logging.getLogger(__name__).warning(
            "%s: %s changed since it was trained: it trains anew", trial.title, listed(changes)
        )


def note_used(trial: Trial, method: Method[Any]) -> None:
    """Record what the method of another package has opened, before what came of it is complete."""
    if is_ours(trial.entry.method_class):
        return
    name = "method" if trial.shard is None else f"method.{trial.shard.number}-of-{trial.shard.count}"
    trial.cell.used.note(used_by_method(method, _left_out(trial.benchmark.config)), name)


def files_of_metric(trial: Trial, metric: Metric) -> dict[str, Any]:
    """What a seal says of a metric of another package; empty for others.

    Returns:
        As ``used`` place -> digest of what its numbers may rest on, and as ``opened`` the places of what it
        opened itself.
    """
    if not runs_here(type(metric)):
        return {}
    opened = opened_by_metric(trial, metric)
    return {
        "used": used_by(type(metric), _left_out(trial.benchmark.config)) | opened,
        "opened": sorted(opened),
    }


def opened_by_metric(trial: Trial, metric: Metric) -> dict[str, str]:
    """Place -> digest of what the metric of another package opened, or another plugin for what both use."""
    return used_by(type(metric), _left_out(trial.benchmark.config), alone=True)


def is_current(path: Path, metric: Metric) -> bool:
    """Whether statistics are there that may stand: the files that the metric used are what they were."""
    if not runs_here(type(metric)):
        return True
    used = sealed_facts(path, OF_CELL).get("used")
    return isinstance(used, dict) and present(used) == used


def files_behind(path: Path) -> dict[str, str]:
    """Place -> digest of what the metric of another package had opened when it made statistics."""
    facts = sealed_facts(path, OF_CELL)
    return {place: facts["used"][place] for place in facts.get("opened", ())}


def _left_out(config: RunConfig) -> list[Path]:
    """Stores and caches: what is opened there is not the plugin's own. Nor is what readers of data open."""
    return [config.store, cache_root()]
