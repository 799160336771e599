"""The statistics contract: a metric is per-study rows, a reduction of their weighted sums, and a signature.

Because ``reduce`` sees only sums of rows, any subset, bootstrap resample or missing-rate mixture of the test
set is a matrix product over rows that were computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from harness.core.types import Prediction, Reference, Task

Rows = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class MetricOutput:
    """One number that a metric prints.

    Attributes:
        name: column name, e.g. ``bleu_4``.
        higher_is_better: direction.
        bounds: smallest and largest possible value.
    """

    name: str
    higher_is_better: bool = True
    bounds: tuple[float, float] = (0.0, 1.0)


@runtime_checkable
class Metric(Protocol):
    """A metric family. Instances are cheap; heavy resources load on the first ``statistics`` call.

    Attributes:
        name: registry name of the family, e.g. ``bleu``.
        task: the task whose predictions it scores.
        outputs: the numbers that ``reduce`` returns, in order.
        kind: ``text`` metrics take a tokenisation profile, others ignore it.

    More attributes may be there: ``default = False`` (runs only when asked for by name), ``group`` (the table
    its numbers stand in), ``resamples`` (its interval uses only so many bootstrap resamples),
    ``recentred = True`` (its replicates are biased, and only their spread is used) and a method
    ``remarks(rows) -> {output: line}``, whose lines stand below a table.
    """

    name: ClassVar[str]
    task: ClassVar[Task]
    outputs: ClassVar[tuple[MetricOutput, ...]]
    kind: ClassVar[Literal["text", "label", "image"]]

    @property
    def signature(self) -> str:
        """Identity of the numbers: ``bleu|order:4|tok:r2gen-iu|len:closest|impl:coco|v:1``."""
        ...

    def unavailable(self) -> str | None:
        """One line that says what is absent and how to get it, or None where the metric can run."""
        ...

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Rows:
        """Per-study sufficient statistics, float64 (n_studies, k), in the order given. May be slow."""
        ...

    def reduce(self, totals: Rows) -> dict[str, NDArray[np.float64]]:
        """Weighted sums of rows (..., k) to values (...) per output name. Pure NumPy, vectorised, fast."""
        ...


@runtime_checkable
class JointMetric(Metric, Protocol):
    """A metric that no sum of its rows determines: AUROC ranks all studies, FID needs their covariance."""

    def joint(self, rows: Rows, weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Rows (n, k) under each line of ``weights`` (B, n) to values (B,) per output name.

        A study of weight w counts as w copies; one of weight 0 is not there, whatever its row holds.
        """
        ...


class NoSums:
    """The ``reduce`` of a ``JointMetric``: a mistake of the caller."""

    def reduce(self, totals: Rows) -> dict[str, NDArray[np.float64]]:
        """Always an error."""
        raise TypeError(f"{type(self).__name__} is no function of summed rows; call metrics.base.values")


def values(metric: Metric, rows: Rows, weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Every output of any metric: rows (n, k) under each line of ``weights`` (B, n) to (B,) per name."""
    if isinstance(metric, JointMetric):
        return metric.joint(rows, weights)
    return metric.reduce(weights @ rows)


def affordable(metric: Metric, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The first lines of bootstrap ``weights`` (B, n): as many as the metric's interval uses."""
    return weights[: getattr(metric, "resamples", None)]


def centred(metric: Metric, output: str, samples: NDArray[np.float64], value: float) -> NDArray[np.float64]:
    """Bootstrap replicates (B,) of one output, moved onto its value where the metric asks for it.

    A resample of n images has about 0.63 n distinct ones, and FID rises as images get fewer: every replicate
    lies above the value, and only their spread tells something. Moved ones stay within the output's bounds.
    """
    defined = samples[~np.isnan(samples)]
    if not getattr(metric, "recentred", False) or not len(defined):
        return samples
    lo, hi = next(one.bounds for one in metric.outputs if one.name == output)
    return np.clip(samples - defined.mean() + value, lo, hi)


def by_default(metric: Metric) -> bool:
    """Whether a run that names no metrics computes this one; slow families say ``default = False``."""
    return bool(getattr(metric, "default", True))


def group_of(metric: Metric) -> str:
    """The table that a metric's numbers stand in: its own ``group``, or what its task and kind imply."""
    implied = {
        (Task.REPORT, "text"): "report text",
        (Task.REPORT, "label"): "report findings",
        (Task.DIAGNOSE, "label"): "diagnosis",
        (Task.SYNTHESIZE, "image"): "images",
    }
    return str(getattr(metric, "group", implied.get((metric.task, metric.kind), metric.task.value)))


def mean_of(totals: Rows, value: int = 0, count: int = 1) -> NDArray[np.float64]:
    """Ratio of two columns of ``totals`` (..., k), 0 where the count is 0."""
    denominator: NDArray[Any] = totals[..., count]
    return np.divide(
        totals[..., value], denominator, out=np.zeros_like(totals[..., value]), where=denominator > 0
    )
