"""Runs of one method with several values of its settings: the points of a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import product
from typing import Any

import yaml

from harness.core import registry, user_yaml
from harness.core.config import RunSettings
from harness.core.errors import HarnessError
from harness.core.progress import Reporter
from harness.evaluation import run as executors
from harness.evaluation.timings import Timings
from harness.method.size import REFERENCE_INFO
from harness.store.results import Measurement

Sweep = Mapping[str, Sequence[Any]]
"""Setting -> its values; several settings are a grid."""


def parsed(assignments: Sequence[str], method: str) -> dict[str, list[Any]]:
    """``["lambda_orth=0.1,0.3"]`` to ``{"lambda_orth": [0.1, 0.3]}``; values are YAML, as with ``--set``.

    Args:
        assignments: ``SETTING=VALUE,VALUE,..``; the method's name and a dot may stand before the setting.
        method: its name.

    Raises:
        HarnessError: not of this form, no YAML, or a setting twice.
    """
    sweep: dict[str, list[Any]] = {}
    for assignment in assignments:
        target, equals, text = assignment.partition("=")
        key = target.strip().removeprefix(f"{method}.")
        if not (equals and key and text.strip()):
            raise HarnessError(f"--sweep {assignment}: not of the form setting=value,value")
        if key in sweep:
            raise HarnessError(f"--sweep {assignment}: {key} a second time", "name all of its values at once")
        try:
            values = user_yaml.parse(f"[{text}]")
        except yaml.YAMLError:
            raise HarnessError(f"--sweep {assignment}: no YAML values", "put text in quotes") from None
        sweep[key] = [_number(value) for value in values]
    return sweep


def _number(value: Any) -> Any:
    """YAML 1.1 reads 1e-3 as text."""
    if isinstance(value, str):
        with suppress(ValueError):
            return float(value)
    return value


def runs(settings: RunSettings, method: str, sweep: Sweep) -> list[RunSettings]:
    """The run of the method as it is, then one for each point of the grid that differs from it.

    Points with the same configuration are one run. All are checked before the first one trains.

    Args:
        settings: of the run; ``--set`` holds in all of them.
        method: its name.
        sweep: settings and their values.

    Raises:
        HarnessError: no such setting, or a value that it refuses.
    """
    method_class = registry.load("methods", method)
    own = settings.config.set.get(method, {})
    points: list[dict[str, Any]] = [{}]
    points += [dict(zip(sweep, values, strict=True)) for values in product(*sweep.values())]
    distinct: dict[str, RunSettings] = {}
    for point in points:
        overrides = {**own, **point}
        created = method_class.create(REFERENCE_INFO, preset=settings.config.preset, overrides=overrides)
        changed = {**settings.config.set, method: overrides} if overrides else settings.config.set
        distinct.setdefault(
            created.config.model_dump_json(), settings.replaced(methods=(method,), set=changed)
        )
    if len(distinct) == 1:
        raise HarnessError("--sweep: all values are those that the method has", "name others")
    return list(distinct.values())


def run(points: Sequence[RunSettings], reporter: Reporter, since: float) -> tuple[list[Measurement], bool]:
    """Train and score the points one after another.

    Args:
        points: of ``runs``.
        reporter: shows progress.
        since: when the first run began, by ``time.monotonic``.

    Returns:
        The numbers of all points, and whether everything succeeded.
    """
    outcomes = [
        executors.run(point, Timings(reporter, None if number else since), tracks=False)
        for number, point in enumerate(points)
    ]
    return [row for rows, _ in outcomes for row in rows], all(succeeded for _, succeeded in outcomes)
