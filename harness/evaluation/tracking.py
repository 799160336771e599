"""A run's rows in MLflow or Weights & Biases, on request: names, numbers and hashes, no text, no image.

Both write below the results store. MLflow keeps an SQLite file there, which ``mlflow ui`` shows; Weights &
Biases stays offline unless ``$WANDB_MODE`` is ``online``, and ``wandb sync`` uploads what it left.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError
from harness.core.packages import require_packages
from harness.method.cost import training_summary
from harness.store.results import Measurement, StoredResult, visible
from harness.store.store import Store

PROJECT = "missing-modality-harness"
_BATCH = 1000
"""Numbers that MLflow takes at a time."""
_COPIED = ("harness", "protocol", "cell", "code", "test_set", "masks", "mask_seeds")
"""What is copied from a manifest."""
_SWITCHES = {"MLFLOW_DISABLE_TELEMETRY": "true", "WANDB_ERROR_REPORTING": "false"}
"""Neither tells its makers that it is used."""


@dataclass(frozen=True, slots=True)
class Tracked:
    """One leaderboard row as trackers see it.

    Attributes:
        name: method, preset and seed.
        dataset: what rows are gathered under.
        succeeded: whether it has numbers.
        facts: settings and hashes by name.
        costs: seconds, GiB and parameters by name.
        curves: metric -> (missing rate, value) pairs, rates ascending.
        losses: ``train`` and ``val`` of each epoch, where it was trained.
    """

    name: str
    dataset: str
    succeeded: bool
    facts: Mapping[str, str]
    costs: Mapping[str, float]
    curves: Mapping[str, Sequence[tuple[float, float]]]
    losses: Sequence[Mapping[str, float]]


def check(tracker: str) -> None:
    """Find out before a run whether its tracker is there.

    Raises:
        UnavailableError: the package is not installed.
    """
    require_packages(f"--track {tracker}", tracker, tracker)


def track(tracker: str, root: Path, rows: Sequence[Measurement]) -> None:
    """Hand the rows of a finished run to ``mlflow`` or ``wandb``.

    Args:
        tracker: which of the two.
        root: results store that has the rows; both write there.
        rows: what the run returned.

    Raises:
        HarnessError: the tracker failed; the store has everything all the same.
    """
    os.environ.update(_SWITCHES)
    write = {"mlflow": _to_mlflow, "wandb": _to_wandb}[tracker]
    try:
        write(root, list(tracked(root, rows)))
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        raise HarnessError(
            f"--track {tracker}: {type(error).__name__}: {reason}",
            f"the results are in {root} all the same; harness leaderboard shows them",
        ) from error


def tracked(root: Path, rows: Sequence[Measurement]) -> Iterator[Tracked]:
    """The rows of a run by result, with what their manifests say."""
    wanted = dict.fromkeys(row.key for row in rows)
    stored = {result.key: result for result in Store(root).stored() if result.key in wanted}
    for key in wanted:
        yield _of(root, stored[key])


def _flat(epoch: Mapping[str, Any]) -> dict[str, float]:
    """Training and validation loss of an epoch, and its parts as ``part.NAME``."""
    parts = {f"part.{name}": value for name, value in epoch.get("losses", {}).items()}
    return {name: epoch[name] for name in ("train", "val") if name in epoch} | parts


def _of(root: Path, result: StoredResult) -> Tracked:
    first, manifest = result.rows[0], result.manifest
    history = training_summary(root / manifest.cell / "training").get("history", [])
    curves: dict[str, list[tuple[float, float]]] = {}
    for row in sorted(result.rows, key=lambda row: row.rate):
        if row.value is not None:
            curves.setdefault(_plain(row.metric), []).append((row.rate, row.value))
    facts = {
        "method": first.method,
        "preset": first.preset,
        "seed": first.seed,
        "drop": first.drop,
        "mechanism": first.mechanism,
        "studies": first.n,
        "device": manifest.cost.device,
        **{name: getattr(manifest, name) for name in _COPIED},
    }
    costs = {
        name: float(value)
        for name, value in manifest.cost.to_json().items()
        if isinstance(value, int | float)
    }
    return Tracked(
        name=f"{first.method} {first.preset} s{first.seed}",
        dataset=first.dataset,
        succeeded=all(row.status != "failed" for row in result.rows),
        facts={name: visible(str(value)) for name, value in facts.items()},
        costs={_plain(name): value for name, value in costs.items()},
        curves=curves,
        losses=[_flat(epoch) for epoch in history],
    )


def _plain(name: str) -> str:
    """A name that both take."""
    return re.sub(r"[^\w. -]", "_", name)


def _to_mlflow(root: Path, results: Sequence[Tracked]) -> None:
    """An MLflow run per row. A missing rate is a step, in percent; so is an epoch of a loss."""
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    folder = root.resolve()
    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    for result in results:
        existing = client.get_experiment_by_name(result.dataset)
        experiment = (
            existing.experiment_id
            if existing is not None
            else client.create_experiment(result.dataset, artifact_location=(folder / "mlflow").as_uri())
        )
        run = client.create_run(experiment, run_name=result.name).info.run_id
        now = int(time.time() * 1000)
        numbers = [Metric(name, value, now, step) for name, value, step in _steps(result)]
        client.log_batch(run, params=[Param(*fact) for fact in result.facts.items()])
        for start in range(0, len(numbers), _BATCH):
            client.log_batch(run, metrics=numbers[start : start + _BATCH])
        client.set_terminated(run, "FINISHED" if result.succeeded else "FAILED")


def _steps(result: Tracked) -> Iterator[tuple[str, float, int]]:
    """(Name, value, step) of every number."""
    for name, curve in result.curves.items():
        for rate, value in curve:
            yield name, value, round(100 * rate)
    for epoch, losses in enumerate(result.losses, 1):
        for name, value in losses.items():
            yield f"loss.{name}", value, epoch
    for name, value in result.costs.items():
        yield f"cost.{name}", value, 0


def _to_wandb(root: Path, results: Sequence[Tracked]) -> None:
    """A Weights & Biases run per row, with neither code nor the machine's name or packages."""
    import wandb

    quiet = wandb.Settings(
        console="off",
        disable_code=True,
        disable_git=True,
        save_code=False,
        silent=True,
        x_disable_machine_info=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
    )
    mode = "online" if os.environ.get("WANDB_MODE") == "online" else "offline"
    for result in results:
        run = wandb.init(
            project=PROJECT,
            group=result.dataset,
            name=result.name,
            dir=str(root),
            mode=mode,
            config=dict(result.facts),
            settings=quiet,
        )
        for epoch, losses in enumerate(result.losses, 1):
            run.log({"epoch": epoch, **{f"loss.{name}": value for name, value in losses.items()}})
        for rate, values in _by_rate(result).items():
            run.log({"missing": rate, **values})
        run.summary.update({f"cost.{name}": value for name, value in result.costs.items()})
        run.finish(exit_code=0 if result.succeeded else 1)


def _by_rate(result: Tracked) -> dict[float, dict[str, Any]]:
    rates: dict[float, dict[str, Any]] = {}
    for name, curve in result.curves.items():
        for rate, value in curve:
            rates.setdefault(rate, {})[name] = value
    return dict(sorted(rates.items()))
