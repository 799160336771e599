"""The ``model-index`` of the Hugging Face hub: what a model card's YAML head says about evaluations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import yaml

from harness.core.errors import HarnessError
from harness.store.results import Measurement

TASKS = {"report text": "image-to-text", "findings": "image-to-text", "diagnosis": "image-classification"}
"""Group of metrics -> the hub's name of the task; ``other`` where it has none."""


def render(rows: Iterable[Measurement]) -> str:
    """One entry per method, preset and seed, with its numbers on the whole test set.

    Controls, numbers at missing rates above 0 and rows without a value are left out. A number appears
    once, whatever the drop policies of its row: with nothing dropped they are the same.

    Raises:
        HarnessError: no method has a number.
    """
    models: dict[tuple[str, str, int], list[Measurement]] = {}
    for row in rows:
        if row.control or row.value is None or row.rate > 0.0:
            continue
        numbers = models.setdefault((row.method, row.preset, row.seed), [])
        if not any(_same(row, other) for other in numbers):
            numbers.append(row)
    if not models:
        raise HarnessError("no method has a number with nothing dropped", "run one first: harness run")
    index = [{"name": _name(*model), "results": _results(numbers)} for model, numbers in models.items()]
    return yaml.safe_dump({"model-index": index}, sort_keys=False, allow_unicode=True, width=100)


def _same(one: Measurement, other: Measurement) -> bool:
    return (one.dataset, one.group, one.metric, one.test_set) == (
        other.dataset,
        other.group,
        other.metric,
        other.test_set,
    )


def _name(method: str, preset: str, seed: int) -> str:
    return f"{method} ({preset}, seed {seed})" if preset else f"{method} (seed {seed})"


def _results(numbers: Sequence[Measurement]) -> list[dict[str, Any]]:
    """One result per dataset and task, in the order of the rows."""
    parts: dict[tuple[str, str], list[Measurement]] = {}
    for row in numbers:
        parts.setdefault((row.dataset, row.group), []).append(row)
    return [
        {
            "task": {"type": TASKS.get(group, "other"), "name": group},
            "dataset": {"name": dataset, "type": dataset, "split": "test"},
            "metrics": [_metric(row) for row in rows],
        }
        for (dataset, group), rows in parts.items()
    ]


def _metric(row: Measurement) -> dict[str, Any]:
    """Value, and under ``args`` what the value cannot be read without."""
    args: dict[str, Any] = {"n": row.n, "signature": row.signature}
    if row.ci95 is not None:
        args["ci95"] = [float(end) for end in row.ci95]
    return {"type": row.metric, "name": row.metric, "value": float(row.value or 0.0), "args": args}
