"""Specs: YAML files that say which columns, missing rates and order the tables of a dataset have.

Those that come with the harness are package data in ``specs/``, so that tables rank by the same metric from a
checkout and from an installed package.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator

from harness.core import user_yaml
from harness.core.errors import HarnessError
from harness.core.names import did_you_mean

SPECS = Path(__file__).with_name("specs")
"""The folder of the specs that come with the harness."""

TASK_GROUPS = {
    "report": ("report text", "report findings"),
    "diagnose": ("diagnosis",),
    "synthesize": ("images", "downstream"),
}
"""Task -> the groups of metrics that judge it."""


def _fraction(rate: float) -> float:
    if not 0.0 <= rate <= 1.0:
        raise ValueError(f"a missing rate is a fraction in [0, 1], but got {rate:g}")
    return rate


def _with_rate(sort: str) -> str:
    if "@" in sort:
        _fraction(float(sort.partition("@")[2]))
    return sort


Rate = Annotated[float, AfterValidator(_fraction)]
Sort = Annotated[str, AfterValidator(_with_rate)]


class GroupSpec(BaseModel):
    """Columns and order of one group's table.

    Attributes:
        metrics: columns, in order; left out, all that were measured.
        sort: the metric that ranks, at missing rate 0 or, as ``cider@0.8``, at another.
        curve: the metric shown over missing rates; default the one that ranks.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    metrics: tuple[str, ...] = ()
    sort: Sort | None = None
    curve: str | None = None

    @property
    def sort_metric(self) -> str | None:
        """The metric of ``sort``."""
        return self.sort.partition("@")[0] if self.sort else None

    @property
    def sort_rate(self) -> float:
        """The missing rate of ``sort``."""
        return float((self.sort or "").partition("@")[2] or 0.0)


class Spec(BaseModel):
    """Which groups, columns, missing rates and order the tables of a dataset have.

    Attributes:
        dataset: registry name, or several.
        task: ``report``, ``diagnose`` or ``synthesize``: only its groups are shown; left out, all.
        groups: group of metrics -> its columns; those that are not named show all that was measured.
        metrics: columns, where all groups share them.
        sort: the metric that ranks, where all groups share it.
        rates: missing rates of the curve; left out, all that were measured.
        seeds: ``mean`` shows a method's seeds as one row, ``each`` as one row per seed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: tuple[str, ...]
    task: Literal["report", "diagnose", "synthesize"] | None = None
    groups: dict[str, GroupSpec] = Field(default_factory=dict)
    metrics: tuple[str, ...] = ()
    sort: Sort | None = None
    rates: tuple[Rate, ...] | None = None
    seeds: Literal["mean", "each"] = "mean"

    @field_validator("dataset", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    def shows(self, group: str) -> bool:
        """Whether a group has a table."""
        return self.task is None or group in TASK_GROUPS[self.task] or group == self.task

    def group(self, name: str) -> GroupSpec:
        """Columns and order of a group."""
        return self.groups.get(name) or GroupSpec(metrics=self.metrics, sort=self.sort)


EVERYTHING = Spec(dataset=())
"""What a dataset without a spec gets: every group, every metric, every rate."""


def load(path: Path) -> Spec:
    """Read one spec.

    Raises:
        HarnessError: no such file, not YAML, an unknown key or a bad value; names file and key.
    """
    try:
        values = user_yaml.read(path)
    except OSError as error:
        raise HarnessError(f"--spec {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise HarnessError(f"--spec {path}: not valid YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(values, dict):
        raise HarnessError(f"--spec {path}: expected a mapping with the keys {', '.join(Spec.model_fields)}")
    try:
        return Spec.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        hint = ""
        if first["type"] == "extra_forbidden":
            model = GroupSpec if first["loc"][0] == "groups" else Spec
            hint = did_you_mean(str(first["loc"][-1]), model.model_fields)
        reason = first["msg"].removeprefix("Value error, ").lower()
        raise HarnessError(f"--spec {path}: {key}: {reason}", hint) from None


def load_all(paths: Sequence[Path] = ()) -> list[Spec]:
    """The specs in ``paths``, or those that come with the harness."""
    files = paths or sorted(SPECS.glob("*.yaml"))
    return [load(path) for path in files]


def spec_of(dataset: str, specs: Iterable[Spec]) -> list[Spec]:
    """The specs of a dataset, by its title or by its registry name, else the one that shows everything."""
    names = {dataset, dataset.partition(":")[0]}
    return [spec for spec in specs if names.intersection(spec.dataset)] or [EVERYTHING]
