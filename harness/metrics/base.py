"""The contract of metrics: statistics per study, a reduction of their weighted sums, and a signature.

Because ``reduce`` sees sums only, any subset, bootstrap resample or missing-rate mixture of the test set is a
matrix product over statistics that were computed once.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import PluginError, require
from harness.core.registry import is_foreign
from harness.core.types import DatasetInfo, Prediction, Reference, Task
from harness.metrics.direct import MetricResult, studies_of
from harness.metrics.read_only import read_only

Statistics = NDArray[np.float64]
"""Sufficient statistics, (n_studies, k): one row per study. A weighted sum over studies is (..., k)."""

SIGNATURE = r"[A-Za-z0-9_]+(\|[a-z0-9_]+:[!#-&(-;=-{}~]{1,60})+"
"""Grammar of signatures, for a full match: the family, then parts ``key:value``, joined by ``|``.

A value has at most 60 characters of printable ASCII, without blanks, quotes and ``<``. So a signature is one
word in every format, and no report fits into it.
"""

_STUDIES_AT_ONCE = 256
_ROUNDING = 1e-6
"""By how much of its bounds rounding may lead a value out of them."""

_GROUPS = {Task.REPORT: "report text", Task.DIAGNOSE: "diagnosis", Task.SYNTHESIZE: "images"}


@dataclass(frozen=True, slots=True)
class MetricOutput:
    """One number that a metric prints.

    Attributes:
        name: column name, e.g. ``bleu_4``.
        higher_is_better: direction; None where neither more nor less is better.
        bounds: smallest and largest possible value.
        raised_by: name of a further value that ``reduce`` returns: by how much noise may raise the number at
            most. Its interval reaches so much further down.
        unit: what one is: ``score`` of a number on the metric's own scale, else ``words``, ``nats``, ..
    """

    name: str
    higher_is_better: bool | None = True
    bounds: tuple[float, float] = (0.0, 1.0)
    raised_by: str = ""
    unit: str = "score"


class Metric(ABC):
    """A metric family. Instances are cheap; heavy resources load on the first ``statistics`` call.

    A subclass gives ``name``, ``task``, ``outputs``, ``signature``, ``statistics`` and ``reduce``. All other
    members have a default.

    Attributes:
        name: registry name of the family, e.g. ``bleu``.
        task: the task whose predictions it scores.
        outputs: the numbers that ``reduce`` returns, in order.
        by_default: a run that names no metrics computes it; False for slow families.
        on_request: ``harness score``, too, computes it only where it is named.
        language, region: of the reports that it is made for (see ``DatasetInfo``). A run that names no
            metrics computes it for no other reports. None: for all.
        tokenized: ``--tokenizer`` sets its tokenisation profile. A run with a chosen profile that cannot run
            here is an error instead of a table without the metric.
        resamples: its intervals use only so many of the bootstrap resamples; None: all of them.
        recentred: its bootstrap replicates are biased, so that only their spread is used: they are moved onto
            the value.
        mirrored: its bootstrap replicates miss the value as the value misses the truth, such as those of an
            area that rises where studies stand twice: they are turned around the value.
        undefined: its statistics may be NaN or infinite.
        mixed: it has values where the studies of a test set are in different modality states; False for
            slow metrics of whole sets of images, which have values where all studies are in one state.
        generates: modalities that a method generates for it from the rest of a study, together and one by
            one; its predictions are ``JointPrediction``s, the same at every missing rate. Empty: it scores
            the predictions of the modality state.
        completes: it scores the test set with generated images in place of the lost ones, instead of the
            generated images alone.
        uses_validation: something in it is chosen on predictions for the validation studies: ``fitted``.
        apart: statistics of a study depend on its prediction and its reference alone, so that shards of the
            test set may be scored on other machines.
        best_by: how the best of several pairs of one study is chosen (``several.py``): ``columns``, where
            statistics are the outputs' values of the study, each compared by itself; ``row``, by the value of
            the first output. Empty: it adds up counts over studies, and no pair of one study is best.
        one_reference: several references of one study would change what it learns of all references.
        plain: it can be called with plain values: texts, rows of numbers, or images of its view. False where
            it reads more than one thing of a study.
    """

    name: ClassVar[str]
    task: ClassVar[Task]
    outputs: tuple[MetricOutput, ...]

    by_default: ClassVar[bool] = True
    on_request: ClassVar[bool] = False
    language: ClassVar[str | None] = None
    region: ClassVar[str | None] = None
    tokenized: ClassVar[bool] = False
    resamples: ClassVar[int | None] = None
    recentred: ClassVar[bool] = False
    mirrored: ClassVar[bool] = False
    undefined: ClassVar[bool] = False
    mixed: ClassVar[bool] = True
    completes: ClassVar[bool] = False
    uses_validation: ClassVar[bool] = False
    generates: ClassVar[tuple[str, ...]] = ()
    apart: ClassVar[bool] = False
    best_by: ClassVar[str] = ""
    one_reference: ClassVar[bool] = False
    plain: ClassVar[bool] = True

    def __call__(
        self, predictions: Iterable[Any], references: Iterable[Any], patients: Sequence[str] | None = None
    ) -> MetricResult:
        """Score predictions against references of the same studies, in the same order, without a harness run.

        Args:
            predictions, references: of a metric of reports, texts. Of a diagnosis, probabilities and labels
                (n, labels), or (n,) of a single label; exclusive classes are rows that add up to 1, and
                one-hot labels. Of images, uint8 arrays (height, width) or (height, width, channels). Or
                ``Prediction`` and ``Reference`` objects, which a metric needs that is not ``plain``.
            patients: of each study, for intervals, in the same order. None: each study has its own.

        Raises:
            UnavailableError: something that it needs is not installed; the message says how to get it.
            HarnessError: values that it cannot score, none, counts that differ, an index or columns that
                differ, or a patient that is unknown.
        """
        require(self.unavailable())
        ours, theirs = studies_of(self, predictions, references, patients)
        statistics = checked_statistics(self, ours, theirs)
        values = checked_values(self, self.values(statistics, np.ones((1, len(theirs)))), 1)
        return MetricResult(
            self,
            {output.name: float(values[output.name][0]) for output in self.outputs},
            statistics,
            tuple(reference.patient_id for reference in theirs),
        )

    @property
    @abstractmethod
    def signature(self) -> str:
        """Identity of the numbers: ``bleu|order:4|norm:none|tok:r2gen-iu|len:closest|impl:coco|v:1``.

        ``SIGNATURE`` is its grammar.
        """

    @abstractmethod
    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """Sufficient statistics, float64 (n_studies, k), one row per study in the same order.

        May be slow: the harness calls it once per modality state and stores what it returns.
        """

    @abstractmethod
    def reduce(self, totals: Statistics) -> dict[str, NDArray[np.float64]]:
        """Values (...) per output name from weighted sums of statistics (..., k).

        Pure NumPy, vectorised over the leading axes, fast.
        """

    def unavailable(self) -> str | None:
        """One line that says what is absent and how to get it; None, the default, if the metric can run."""
        return None

    def begin(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> None:
        """Start what takes seconds to be ready, such as another process, and return at once.

        Called for all metrics with some of the studies, before the statistics of the first one. By default
        there is nothing to start.
        """
        return

    def fitted(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Metric:
        """The metric after it has chosen what it chooses on validation studies: itself where that is nothing.

        The harness calls it before ``statistics`` where the metric declares ``uses_validation``. It must be a
        function of its arguments.
        """
        return self

    def made_for(self, info: DatasetInfo) -> bool:
        """Whether a dataset's reports have the language and the body region that it is made for."""
        return self.language in (None, info.language) and self.region in (None, info.region)

    @property
    def group(self) -> str:
        """Heading of the table that its numbers stand in; by default that of its task."""
        return _GROUPS[self.task]

    def remarks(self, statistics: Statistics) -> dict[str, str]:
        """Output name -> a line that stands below the table; none by default.

        Args:
            statistics: (n_studies, k), with no modality missing.
        """
        return {}

    def cut(self, texts: Sequence[str]) -> tuple[int, list[bool]]:
        """The most tokens that its model reads of a text, and which of ``texts`` are longer.

        ``(0, [])``, the default, where every text is read whole.
        """
        return 0, []

    def values(self, statistics: Statistics, weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Every output, (B,) per name, of statistics (n, k) under each line of ``weights`` (B, n)."""
        return self.reduce(weights @ statistics)

    def alone(self, statistics: Statistics) -> dict[str, NDArray[np.float64]]:
        """Every output, (n,) per name, of each study of statistics (n, k) by itself."""
        return self.reduce(statistics)

    def rematched(
        self, predictions: Sequence[Prediction], references: Sequence[Reference], orders: NDArray[np.intp]
    ) -> dict[str, NDArray[np.float64]]:
        """Every output, (P,) per name, where study i has the prediction of study ``orders[p, i]``, (P, n).

        By default each order is scored anew. A family that can score all pairs at once gives its own.
        """
        once = np.ones((1, len(references)))
        values = [
            self.values(self.statistics([predictions[index] for index in order], references), once)
            for order in orders
        ]
        return {
            output.name: np.array([float(each[output.name][0]) for each in values]) for output in self.outputs
        }


class JointMetric(Metric):
    """A metric that no sum of its statistics determines: AUROC ranks all studies, FID needs their covariance.

    A subclass gives ``joint`` in place of ``reduce``.

    Attributes:
        per_mask: a curve calls ``joint`` once per mask, with the n rows of the masked test set. This is
            faster where the work grows with the number of rows. By default a curve calls it once for all
            masks, with the rows of all modality states: faster where the work with the rows is shared by all
            lines of weights.
    """

    per_mask: ClassVar[bool] = False

    @abstractmethod
    def joint(self, statistics: Statistics, weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Every output, (B,) per name, of statistics (n, k) under each line of ``weights`` (B, n).

        A study of weight w counts as w copies; a study of weight 0 is left out, whatever its statistics are.
        """

    def reduce(self, totals: Statistics) -> dict[str, NDArray[np.float64]]:
        """Always an error: a sum is not enough.

        Raises:
            TypeError: in any case.
        """
        raise TypeError(f"{type(self).__name__} is no function of summed statistics; call its values()")

    def values(self, statistics: Statistics, weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """As ``joint``."""
        return self.joint(statistics, weights)

    def alone(self, statistics: Statistics) -> dict[str, NDArray[np.float64]]:
        """As ``Metric.alone``, some studies at a time."""
        parts = []
        for start in range(0, len(statistics), _STUDIES_AT_ONCE):
            rows = statistics[start : start + _STUDIES_AT_ONCE]
            parts.append(self.joint(rows, np.eye(len(rows))))
        return {output.name: np.concatenate([part[output.name] for part in parts]) for output in self.outputs}


def checked_statistics(
    metric: Metric, predictions: Sequence[Prediction], references: Sequence[Reference]
) -> Statistics:
    """``metric.statistics``, held to its contract.

    Raises:
        PluginError: its signature breaks the grammar, or it returned no floating-point array (n, k), or one
            with NaN or infinite entries and the metric does not declare ``undefined``.
    """
    if not re.fullmatch(SIGNATURE, metric.signature):
        raise PluginError(
            f"metric {metric.name}: its signature is no list of key:value parts without blanks",
            "an example: bleu|order:4|norm:none|tok:r2gen-iu|v:1",
        )
    n = len(references)
    if is_foreign(type(metric)):  # what it changes in place, other metrics would read
        predictions, references = list(map(read_only, predictions)), list(map(read_only, references))
    rows = metric.statistics(list(predictions), list(references))
    promise = f"expected a float array (n, k) with n = {n}, one row per study"
    if not isinstance(rows, np.ndarray):
        raise PluginError(f"metric {metric.name}: statistics are a {type(rows).__name__}, {promise}")
    if rows.ndim != 2 or len(rows) != n or not np.issubdtype(rows.dtype, np.floating):
        raise PluginError(f"metric {metric.name}: statistics are {rows.dtype} {rows.shape}, {promise}")
    if np.ma.isMaskedArray(rows):
        raise PluginError(f"metric {metric.name}: statistics are masked, {promise}")
    wrong = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(wrong) and not metric.undefined:
        raise PluginError(
            f"metric {metric.name}: statistics of {len(wrong)} of {n} studies are NaN or infinite, "
            f"the first one is {references[wrong[0]].id}",
            "a metric for which this is right declares undefined = True",
        )
    return np.array(rows) if is_foreign(type(metric)) else rows  # it may fill the same array again


def checked_remarks(metric: Metric, statistics: Statistics) -> dict[str, str]:
    """``metric.remarks``, held to its contract.

    Raises:
        PluginError: it returned something else than lines by output.
    """
    lines = metric.remarks(statistics)
    if not isinstance(lines, Mapping) or not all(
        isinstance(part, str) and part.isprintable() for pair in lines.items() for part in pair
    ):
        raise PluginError(f"metric {metric.name}: its remarks are no lines by the names of its outputs")
    return dict(lines)


def checked_values(
    metric: Metric, values: Mapping[str, NDArray[np.float64]], lines: int
) -> Mapping[str, NDArray[np.float64]]:
    """What ``metric.reduce`` or ``metric.values`` returned, held to its contract.

    Raises:
        PluginError: an output is not there, not of shape (lines,), no real number, or outside its bounds.
    """
    for output in metric.outputs:
        wrong = _wrong(output, values[output.name], lines) if output.name in values else "was not returned"
        if wrong:
            raise PluginError(f"metric {metric.name}: {output.name} {wrong}")
    if not is_foreign(type(metric)):
        return values
    return {output.name: np.array(values[output.name]) for output in metric.outputs}


def _wrong(output: MetricOutput, values: NDArray[Any], lines: int) -> str:
    """What is wrong with the values of an output, empty where nothing is. NaN: it has no value there."""
    shape, dtype = np.shape(values), np.asarray(values).dtype
    if shape != (lines,):
        return f"has shape {shape}, expected {(lines,)}"
    if not (np.issubdtype(dtype, np.floating) or np.issubdtype(dtype, np.integer)):
        return f"has {dtype} values, expected real numbers"
    if np.isinf(values).any():
        return "is infinite"
    least, most = output.bounds
    rounding = _ROUNDING * max(1.0, *(abs(bound) for bound in output.bounds if np.isfinite(bound)), 0.0)
    if (values < least - rounding).any() or (values > most + rounding).any():
        return f"is outside its bounds, {least:g} to {most:g}"
    return ""


def mean_of(totals: Statistics, value: int = 0, count: int = 1) -> NDArray[np.float64]:
    """Ratio of two columns of ``totals`` (..., k), 0 where the count is 0."""
    denominator: NDArray[Any] = totals[..., count]
    return np.divide(
        totals[..., value], denominator, out=np.zeros_like(totals[..., value]), where=denominator > 0
    )
