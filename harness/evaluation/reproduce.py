"""A stored row made again from its manifest in a fresh store, and compared with what was stored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.core.config import RunSettings
from harness.core.dotted import flat
from harness.core.errors import HarnessError
from harness.core.names import did_you_mean
from harness.core.progress import Reporter
from harness.evaluation.benchmark import Benchmark, open_benchmark, prepare_images
from harness.evaluation.entries import Entry
from harness.evaluation.evaluate import evaluate
from harness.evaluation.trial import Trial
from harness.store.manifest import Machine, Manifest
from harness.store.results import Measurement, StoredResult
from harness.store.row_labels import method_of
from harness.store.store import Store
from harness.store.tolerance import TOLERANCE, close

_NUMBERS = ("value", "ci95")
_LABELS = ("n", "signature", "status")
"""What must be the same to the letter."""

_CONTEXT = ("harness", "protocol", "code", "test_set", "masks", "machine", "environment")
"""What of a manifest may explain a difference."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One number that did not come out as stored."""

    metric: str
    rate: float
    field: str
    stored: object
    reproduced: object


@dataclass(frozen=True, slots=True)
class Reproduction:
    """What came out.

    Attributes:
        key: the row.
        compared: numbers, each with interval, n, signature and status.
        differences: those that are not equal within the tolerance; empty means reproduced.
        largest: largest absolute difference of a value or of an interval's end, whether it is equal or not.
        changed: ``what: then -> now`` for versions, code, data and machine that are not the same.
        failure: why the new run has no numbers, or empty.
    """

    key: str
    compared: int
    differences: tuple[Difference, ...]
    largest: float
    changed: tuple[str, ...]
    failure: str = ""

    @property
    def equal(self) -> bool:
        """Whether every number is the stored one, within the tolerance."""
        return not self.differences and not self.failure


def find(store: Store, row: str) -> StoredResult:
    """The stored row that a user means.

    Its key, its file, ``DATASET/METHOD/RUN`` with the names that tables print (``csv:mine``), or, where it is
    the only row, ``DATASET/METHOD`` or ``METHOD``.

    Raises:
        HarnessError: none, or several.
    """
    wanted = row.removesuffix(".json")
    stored = store.stored()
    exact = [each for each in stored if wanted in (each.key, each.path.with_suffix("").as_posix())]
    chosen = exact or [each for each in stored if wanted in _printed_names(each)]
    if len(chosen) == 1:
        return chosen[0]
    if chosen:
        more = f" and {len(chosen) - _LISTED} more" if len(chosen) > _LISTED else ""
        keys = ", ".join(each.key for each in chosen[:_LISTED])
        raise HarnessError(f"{row}: {len(chosen)} rows", f"name one: {keys}{more}")
    names = {printed[-1] for each in stored if (printed := _printed_names(each))}
    raise HarnessError(f"{row}: no such row in {store.root}", did_you_mean(wanted, names))


_LISTED = 8
"""Rows that a message names at most."""


def _printed_names(result: StoredResult) -> tuple[str, ...]:
    """What tables call a row, from the most exact name on."""
    if not result.rows:
        return ()
    dataset, method = result.rows[0].dataset, result.rows[0].method
    run = result.key.rpartition("/")[2]
    return f"{dataset}/{method}/{run}", f"{dataset}/{method}", method


def reproduce(
    stored: StoredResult,
    into: Path,
    reporter: Reporter,
    *,
    root: Path | None = None,
    device: str | None = None,
    tolerance: float = TOLERANCE,
) -> Reproduction:
    """Train, predict and score the row again.

    Args:
        stored: the row.
        into: folder of the fresh store; it must not hold one.
        reporter: where the run says what it does.
        root: folder of the dataset, where it is not where it was.
        device: default the row's.
        tolerance: largest difference, absolute or relative, of numbers that count as equal.

    Raises:
        HarnessError: the row has no numbers or its manifest does not say how they came about.
    """
    if all(row.value is None for row in stored.rows):
        raise HarnessError(f"{stored.key}: the row has no numbers to reproduce")
    if stored.manifest.command:
        raise HarnessError(f"{stored.key}: not a row of harness run", stored.manifest.command)
    if (into / "store.json").exists():
        raise HarnessError(f"--into {into}: a store is there already", "reproduce into a fresh folder")
    settings = settings_of(stored, into, root, device)
    _set_threads(stored.manifest.machine)
    benchmark = open_benchmark(settings)
    prepare_images(benchmark, reporter)
    trial = Trial(benchmark, entry_of(benchmark, stored), benchmark.config.seeds[0], reporter)
    drop = stored.rows[0].drop  # a corrupted state has plans beside it
    rows = [row for row in evaluate(trial) if row.drop == drop]
    again = next(each for each in benchmark.store.stored() if each.key == rows[0].key)
    failure = next((row.detail for row in rows if row.status == "failed"), "")
    return Reproduction(
        stored.key,
        sum(row.value is not None for row in stored.rows),
        tuple(_differences(stored.rows, rows, tolerance)),
        _largest(stored.rows, rows),
        tuple(_changed(stored.manifest, again.manifest)),
        failure,
    )


def render(outcome: Reproduction) -> str:
    """What came out: one line where all is equal, else each difference and what may explain it as well."""
    if outcome.equal:
        return (
            f"{outcome.key}: equal, largest difference {outcome.largest:.1g} ({outcome.compared} numbers)\n"
        )
    equal = outcome.compared - len({(each.metric, each.rate) for each in outcome.differences})
    lines = [f"{outcome.key}: {equal} of {outcome.compared} numbers are equal"]
    if outcome.failure:
        lines.append(f"the new run failed: {outcome.failure}")
    lines += [
        f"- {each.metric} at rate {each.rate:g}: {each.field} {each.stored} -> {each.reproduced}"
        for each in outcome.differences
    ]
    if outcome.changed:
        lines.append("not the same as then:")
        lines += [f"- {each}" for each in outcome.changed]
    return "\n".join(lines) + "\n"


def settings_of(
    stored: StoredResult, into: Path, root: Path | None = None, device: str | None = None
) -> RunSettings:
    """The settings of a stored run, for one row alone.

    Args:
        stored: the row.
        into: store of the new run.
        root: folder of the dataset, where it is not where it was.
        device: default the row's.

    Raises:
        HarnessError: the manifest does not say how the row came about.
    """
    method = method_of(stored.rows[0].method)
    try:
        config, cost = dict(stored.manifest.config), stored.manifest.cost.to_json()
        names = (method, config.get("impute") or "")
        owners = {config["dataset"], *names, *(name.partition(":")[0] for name in names)}
        values: dict[str, Any] = {
            **config,
            "methods": (method,),
            "seeds": (stored.manifest.seed,),
            "device": device or stored.manifest.machine.device,
            "root": root or config.get("root"),
            "store": into,
            "workers": 1,
            # Noise differs between the processes that train together, wherever they run.
            **{name: cost[name] for name in ("devices", "strategy") if name in cost},
            "set": {owner: each for owner, each in config.get("set", {}).items() if owner in owners},
        }
        return RunSettings.of(**values)
    except (KeyError, TypeError) as error:
        raise HarnessError(f"{stored.path}: its manifest lacks {error}", "run the method again") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise HarnessError(
            f"{stored.path}: its manifest is of another version: {first['loc'][0]}: {first['msg'].lower()}"
        ) from None


def entry_of(benchmark: Benchmark, stored: StoredResult) -> Entry:
    """The row of a benchmark that was opened with ``settings_of`` the stored one.

    Raises:
        HarnessError: the settings give no row of that label.
    """
    label = stored.rows[0].method
    by_label = {entry.label: entry for entry in benchmark.entries}
    if label not in by_label:
        raise HarnessError(f"{stored.path}: its settings give {', '.join(by_label)}, not {label}")
    return by_label[label]


def _set_threads(machine: Machine) -> None:
    """As many threads as then: sums of floats are split among them."""
    import torch

    if machine.threads:
        torch.set_num_threads(machine.threads)


def _differences(
    stored: Sequence[Measurement], rows: Sequence[Measurement], tolerance: float
) -> list[Difference]:
    differences = []
    for row, other in _pairs(stored, rows):
        if other is None:
            differences.append(Difference(row.metric, row.rate, "value", row.value, None))
            continue
        for name in (*_NUMBERS, *_LABELS):
            then, now = getattr(row, name), getattr(other, name)
            if not (close(then, now, tolerance) if name in _NUMBERS else then == now):
                differences.append(Difference(row.metric, row.rate, name, then, now))
    return differences


def _largest(stored: Sequence[Measurement], rows: Sequence[Measurement]) -> float:
    """Largest absolute difference of a value or of an interval's end, among those that are finite."""
    gaps = (
        abs(then - now)
        for row, other in _pairs(stored, rows)
        if other is not None and other.value is not None
        for then, now in zip((row.value, *(row.ci95 or ())), (other.value, *(other.ci95 or ())), strict=False)
        if then is not None and now is not None
    )
    return max((gap for gap in gaps if math.isfinite(gap)), default=0.0)


def _pairs(
    stored: Sequence[Measurement], rows: Sequence[Measurement]
) -> list[tuple[Measurement, Measurement | None]]:
    """Every stored number with the new one of its metric and missing rate."""
    by_place = {(row.metric, row.rate): row for row in rows}
    return [(row, by_place.get((row.metric, row.rate))) for row in stored if row.value is not None]


def _changed(then: Manifest, now: Manifest) -> list[str]:
    old, new = (
        flat({name: value for name, value in manifest.to_json().items() if name in _CONTEXT})
        for manifest in (then, now)
    )
    return [f"{name}: {old[name]} -> {new.get(name)}" for name in old if old[name] != new.get(name)]
