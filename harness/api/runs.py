"""Runs, audits and single parts, as a notebook or a script calls them."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any, TypeAlias

from harness.api.audits import AuditTable
from harness.api.board import Leaderboard
from harness.core import registry
from harness.core.arguments import described, of_type, path_of, several_of
from harness.core.config import RunSettings
from harness.core.errors import HarnessError
from harness.core.packages import packages_named
from harness.core.progress import SILENT, Progress, Reporter

if TYPE_CHECKING:
    from harness.core.types import DatasetInfo
    from harness.datasets.base import Dataset
    from harness.method.contract import Method

Named: TypeAlias = "str | type[Method[Any]]"
"""A method: its registered name, ``name:variant``, or its class."""


def evaluate(
    methods: Named | Sequence[Named],
    dataset: str = "iu-phantom",
    *,
    missing: Sequence[float] | Mapping[str, float] = (),
    store: Path | str | None = None,
    progress: bool = True,
    **settings: Any,
) -> Leaderboard:
    """Train what is not trained, predict what is not predicted, score: what ``harness run`` does.

    Args:
        methods: registered names, ``name:variant``, ``"all"``, or classes, which need not be installed.
        dataset: registered name.
        missing: shares of test studies that lose a modality, e.g. ``[0.2, 0.8]`` or ``{"frontal": 0.2}``.
        store: folder that keeps checkpoints, predictions and results, so that a second call with the same
            settings computes nothing. None: a new temporary folder, ``Leaderboard.store``.
        progress: print one line per row to standard error.
        settings: any other setting of ``harness run`` by its name, e.g. ``limit=200``, ``drop="context"``,
            ``corrupt=["frontal:blur"]``, ``seeds=(0, 1)``, ``metrics=("bleu", "cider")``,
            ``set={"dia": {"lr": 1e-3}}``. ``workers`` is 1 unless it is named: more processes need the usual
            ``if __name__ == "__main__":`` of a script, and names instead of classes.

    Returns:
        The leaderboard of these methods. A method that failed has rows with status ``failed``.

    Raises:
        HarnessError: no method is named, or a setting, a name or the data are wrong; the message says what to
            do.
    """
    flags = {
        "methods": _names(methods),
        "dataset": dataset,
        "missing": _missing(missing),
        "store": _store(store),
        "workers": 1,
        **settings,
    }
    _check_processes(flags)
    with packages_named(lambda: "harness.evaluate"):
        from harness.evaluation.run import run

    run_settings = RunSettings.build(flags)
    rows, _ = run(run_settings, _Lines() if progress else SILENT)
    return Leaderboard.from_store(run_settings.config.store, only={row.key for row in rows})


def audit(
    methods: Named | Sequence[Named],
    dataset: str = "iu-phantom",
    *,
    store: Path | str | None = None,
    progress: bool = True,
    **settings: Any,
) -> AuditTable:
    """Check that methods use no targets, no batch neighbours, no masked inputs and no test split.

    Args:
        methods: as ``evaluate`` takes them.
        dataset: as ``evaluate`` takes it.
        store: as ``evaluate`` takes it.
        progress: as ``evaluate`` takes it.
        settings: of ``harness audit``: ``limit``, ``preset``, ``root``, ``device``, ``set``, ``workers``.

    Returns:
        One verdict per method, as a table; ``.passed``, and ``[name].checks`` for what was tried.

    Raises:
        HarnessError: as ``evaluate``.
    """
    flags = {
        "methods": _names(methods),
        "dataset": dataset,
        "store": _store(store),
        "workers": 1,
        **settings,
    }
    _check_processes(flags)
    with packages_named(lambda: "harness.audit"):
        from harness.audits import audit as audits

    return AuditTable(tuple(audits.audit(RunSettings.build(flags), _Lines() if progress else SILENT)))


def load_dataset(name: str, root: Path | str | None = None, **options: Any) -> Dataset:
    """Open a registered dataset.

    Args:
        name: registered name, e.g. ``iu-phantom`` or ``csv``.
        root: folder or file of a dataset that ships with no package.
        options: as ``--set DATASET.key=value`` takes them.

    Returns:
        A dataset: ``.info``, and ``.studies(split)`` for ``train``, ``val`` and ``test``.

    Raises:
        HarnessError: no such dataset or option, something is wrong with its files, or an argument has another
            type.
    """
    from harness.datasets.opening import open_dataset

    of_type(name, str, "name", "the registered name of a dataset")
    folder = None if root is None else path_of(root, "root", "the path of a folder or file")
    return open_dataset(name, folder, options)


def load_method(
    name: Named,
    info: DatasetInfo,
    *,
    preset: str = "tiny",
    overrides: Mapping[str, Any] | None = None,
    checkpoint: Path | str | None = None,
) -> Method[Any]:
    """Build a method for a dataset, and load its weights where there are some.

    Args:
        name: ``METHOD``, ``METHOD:VARIANT`` or a class.
        info: facts about the dataset, ``load_dataset(..).info``.
        preset: ``tiny``, ``base`` or ``paper``.
        overrides: settings of the method, e.g. ``{"training.epochs": 3}``.
        checkpoint: folder that ``method.save`` wrote; None gives a method that is not fitted.

    Raises:
        HarnessError: an unknown name, preset or setting, a damaged checkpoint, or an argument of another
            type.
    """
    from harness.core.types import DatasetInfo

    of_type(name, str | type, "name", "one method: its registered name or its class")
    base, variant = registry.split_variant(_name(name))
    method_class: type[Method[Any]] = registry.load("methods", base)
    of_type(info, DatasetInfo, "info", "facts about a dataset, load_dataset(..).info")
    of_type(preset, str, "preset", "tiny, base or paper")
    if overrides is not None:
        of_type(overrides, Mapping, "overrides", "a mapping: setting -> value")
    folder = None if checkpoint is None else path_of(checkpoint, "checkpoint", "the path of a folder")
    method = method_class.create(info, variant=variant, preset=preset, overrides=overrides)
    if folder is not None:
        method.load(folder)
    return method


def _names(methods: Named | Sequence[Named]) -> tuple[str, ...]:
    """Registered names; a class is registered for this process first."""
    if isinstance(methods, str | type):
        return (_name(methods),)
    each = several_of(methods, "methods", "names or classes of methods, such as ['template']")
    if not each:
        raise HarnessError("no method is named", "give names or classes of methods, or 'all'")
    return tuple(_name(method) for method in each)


def _missing(missing: Sequence[float] | Mapping[str, float]) -> Mapping[str, float] | tuple[float, ...]:
    """Shares of test studies, alone or by modality."""
    if isinstance(missing, Mapping):
        return dict(missing)
    return several_of(missing, "missing", "a list of shares, such as [0.2, 0.8]")


def _store(store: Path | str | None) -> Path:
    """A store's folder; a new temporary one where none is named."""
    return Path(mkdtemp(prefix="harness-")) if store is None else path_of(store, "store", "a folder's path")


def _name(method: Named) -> str:
    if isinstance(method, str):
        return method
    card = getattr(method, "card", None)
    name = getattr(card, "name", None)
    if not isinstance(name, str):
        raise HarnessError(f"{described(method)} is no method: it has no card", "see docs/adding-a-method.md")
    registered = registry.register("methods", method, name)
    from harness.core.opened import opened_by
    from harness.method.fingerprint import remember_in_memory

    remember_in_memory(method)
    opened_by.pop(method.__module__, None)  # a file that was edited since is another one now
    return registered


def _check_processes(flags: Mapping[str, Any]) -> None:
    names: Iterable[str] = (registry.split_variant(name)[0] for name in flags["methods"])
    live = [name for name in names if registry.is_live("methods", name)]
    elsewhere = (
        flags["workers"] != 1 or flags.get("executor", "local") != "local" or flags.get("devices", 1) != 1
    )
    if live and elsewhere:
        raise HarnessError(
            f"{live[0]}: other processes do not have its class",
            "leave workers, executor and devices out, or install the class as a plugin and give its name",
        )


class _Lines:
    """Prints one line per finished row to standard error."""

    def __init__(self) -> None:
        self.started = time.monotonic()

    def phase(self, label: str, phase: str) -> Progress:
        return lambda fraction, status: None

    def done(self, label: str, summary: str) -> None:
        self._print(f"{label}: {summary}")

    def failed(self, label: str, reason: str) -> None:
        self._print(f"{label}: FAILED: {reason}")

    def _print(self, line: str) -> None:
        seconds = time.monotonic() - self.started
        print(f"[{seconds:6.1f} s] {line}", file=sys.stderr, flush=True)


_: type[Reporter] = _Lines  # the type checker holds it to the protocol
