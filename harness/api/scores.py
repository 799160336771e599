"""Scores of reports that a program holds or that lie in files: no model, no store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import TYPE_CHECKING

from harness.api.scoring_arguments import label_reading_of, metrics_of, options_of, reading_of
from harness.api.tables import Table
from harness.core import registry
from harness.core.arguments import MOST_TRIALS, described, of_type, path_of, texts_of, whole_number
from harness.core.errors import HarnessError, UnavailableError, UnknownNameError
from harness.core.metric_options import MetricOptions
from harness.core.names import did_you_mean
from harness.core.packages import require_packages
from harness.core.types import Task
from harness.evaluation import score_files
from harness.evaluation.image_files import scoring as scoring_of_images
from harness.evaluation.image_files.scoring import ImageFiles
from harness.evaluation.probability_files import scoring
from harness.evaluation.probability_files.cells import Values
from harness.evaluation.probability_files.tables import LabelReading
from harness.evaluation.report_files.in_memory import Texts
from harness.evaluation.report_files.pairing import DEFAULT_READING, ReportReading
from harness.evaluation.report_labels import label_reports
from harness.evaluation.score_json import comparison_json, score_json
from harness.metrics.base import Metric, checked_statistics
from harness.metrics.direct import MetricResult, paired, studies_of
from harness.metrics.text.hygiene import sentences
from harness.statistics.bootstrap import bootstrap_weights, estimate
from harness.statistics.estimate import Estimate

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

Reward = Callable[[Sequence[str], Sequence[str]], list[float]]
"""(Predictions, references) to one value per pair."""


@dataclass(frozen=True, slots=True, repr=False)
class ScoreTable(Table):
    """What ``score`` returns; ``table["bleu_4"]`` is one number with its interval.

    Attributes:
        scores: values, signatures, values of single studies, and what was not computed and why.
    """

    scores: score_files.Scores

    def __getitem__(self, metric: str) -> Estimate:
        """Value and 95 % interval of a metric.

        Raises:
            HarnessError: ``metric`` is no text.
            UnknownNameError: it was not computed; the message says why where that is known.
        """
        of_type(metric, str, "metric", "the name of one number")
        for each in self.scores.scores:
            if each.metric == metric:
                return each.estimate
        if metric in self.scores.unavailable:
            raise UnknownNameError(f"{metric}: not computed: {self.scores.unavailable[metric]}", "")
        names = [each.metric for each in self.scores.scores]
        raise UnknownNameError(f"{metric}: not computed", did_you_mean(metric, names))

    @property
    def remarks(self) -> list[str]:
        """What is odd about the studies, what metrics say of this test set, and which metrics failed."""
        failed = [f"{name} failed: {reason}" for name, reason in self.scores.failed.items()]
        notes = [f"{name}: {line}" for name, line in self.scores.notes.items()]
        return [*sentences(self.scores.remarks), *notes, *failed]

    def to_frame(self) -> pd.DataFrame:
        """Columns ``metric, value, lo, hi, n, signature, group, higher_is_better``, one line per metric."""
        import pandas as pd

        lines = [
            {
                "metric": each.metric,
                "value": each.estimate.value,
                "lo": each.estimate.lo,
                "hi": each.estimate.hi,
                "n": each.estimate.n,
                "signature": each.signature,
                "group": each.group,
                "higher_is_better": each.higher_is_better,
            }
            for each in self.scores.scores
        ]
        return pd.DataFrame(lines)

    def per_study(self) -> pd.DataFrame:
        """One line per study, indexed by id: every metric on that study alone."""
        import pandas as pd

        return pd.DataFrame(dict(self.scores.per_study), index=pd.Index(self.scores.ids, name="id"))

    def to_json(self) -> str:
        """As ``harness score --format json``."""
        return score_json(self.scores)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw every metric with its interval, one line each."""
        if ax is None:
            require_packages("ScoreTable.plot", "figures", "matplotlib")
            from matplotlib import pyplot

            height = 0.6 + 0.28 * len(self.scores.scores)
            _, ax = pyplot.subplots(figsize=(5.6, height), layout="constrained")
        estimates = [each.estimate for each in self.scores.scores]
        places = range(len(estimates))
        for place, each in zip(places, estimates, strict=True):
            ax.plot([each.lo, each.hi], [place, place], color="#8a8a8a", lw=1.6)
        ax.plot([each.value for each in estimates], places, "o", color="#0072b2", ms=5)
        ax.set_yticks(list(places), [each.metric for each in self.scores.scores])
        ax.invert_yaxis()
        ax.set_xlabel("value, 95 % interval over patients")
        return ax

    def _texts(self) -> pd.DataFrame:
        import pandas as pd

        lines = [
            (each.metric, f"{each.estimate.value:.4f}", _interval(each.estimate), str(each.estimate.n))
            for each in self.scores.scores
        ]
        return pd.DataFrame(lines, columns=["metric", "value", "95 % interval", "n"])


@dataclass(frozen=True, slots=True, repr=False)
class ComparisonTable(Table):
    """What ``compare`` returns.

    Attributes:
        comparisons: one per metric and pair of systems.
    """

    comparisons: score_files.Comparisons

    @property
    def remarks(self) -> list[str]:
        """What is odd about the reports, and which metrics failed."""
        failed = [f"{name} failed: {reason}" for name, reason in self.comparisons.failed.items()]
        return [*sentences(self.comparisons.remarks), *failed]

    def to_frame(self) -> pd.DataFrame:
        """Columns ``metric, a, b, value_a, value_b, difference, lo, hi, p_value, p_holm, n, signature``."""
        import pandas as pd

        lines = [
            {
                "metric": row.metric,
                "a": row.a,
                "b": row.b,
                "value_a": row.test.value_a,
                "value_b": row.test.value_b,
                "difference": row.test.difference.value,
                "lo": row.test.difference.lo,
                "hi": row.test.difference.hi,
                "p_value": row.test.p_value,
                "p_holm": row.p_holm,
                "n": row.test.difference.n,
                "signature": row.signature,
            }
            for row in self.comparisons.rows
        ]
        return pd.DataFrame(lines)

    def to_json(self) -> str:
        """As ``harness compare --format json``."""
        return comparison_json(self.comparisons)

    def _texts(self) -> pd.DataFrame:
        import pandas as pd

        lines = [
            (
                row.metric,
                f"{row.a} - {row.b}",
                f"{row.test.difference.value:+.4f}",
                _interval(row.test.difference),
                f"{row.test.p_value:.4g}",
                f"{row.p_holm:.4g}",
            )
            for row in self.comparisons.rows
        ]
        names = ["metric", "systems", "difference", "95 % interval", "p", "p (Holm)"]
        return pd.DataFrame(lines, columns=names)


def score(
    references: Texts,
    predictions: Texts,
    metrics: str | Sequence[str] | None = None,
    *,
    reading: ReportReading = DEFAULT_READING,
    **options: str | int | None,
) -> ScoreTable:
    """Score predicted reports against the true ones: what ``harness score`` does.

    Args:
        references: a path, a list of texts, a mapping id -> text, a series or a data frame with ``id`` and
            ``report``.
        predictions: the same. Ids are joined, never zipped.
        metrics: families or single outputs (``bleu`` or ``bleu_4``); default all report metrics that can run.
        reading: which texts mean "no report" (as ``nan`` does), which studies count, and how several texts of
            one study do: ``ReportReading(subset=ids)``, ``ReportReading(several="max")``.
        options: how metrics are computed: ``tokenizer``, ``reference_words``, ``uncertain``.

    Raises:
        HarnessError: reports that cannot be read or joined, an unknown metric or option.
    """
    wanted, chosen = metrics_of(metrics), options_of(options)
    return ScoreTable(score_files.score(references, predictions, wanted, chosen, reading_of(reading)))


def compare(
    references: Texts,
    systems: Mapping[str, Texts],
    metrics: str | Sequence[str] | None = None,
    *,
    trials: int = 10_000,
    reading: ReportReading = DEFAULT_READING,
    **options: str | int | None,
) -> ComparisonTable:
    """Paired tests of every pair of systems on every metric: what ``harness compare`` does.

    Args:
        references: as ``score`` takes them.
        systems: name -> its predictions, at least two.
        trials: random swaps of the paired test.
        metrics: as ``score`` takes them.
        reading: as ``score`` takes it.
        options: as ``score`` takes them.

    Raises:
        HarnessError: as ``score``, fewer than two systems, a name that is no text or number, or ``trials``
            that are no whole number from 1 to ``MOST_TRIALS``.
    """
    if not isinstance(systems, Mapping):
        raise HarnessError(f"systems are {described(systems)}", "give a mapping: name -> predictions")
    names = [str(of_type(name, str | Integral, "the name of a system", "a text")) for name in systems]
    if not all(names):
        raise HarnessError("a system has an empty name", "name each one")
    if twice := [name for name in names if names.count(name) > 1]:
        raise HarnessError(f"two systems are called {twice[0]}", "name each one differently")
    wanted, chosen, swaps = metrics_of(metrics), options_of(options), whole_number(trials, "trials")
    if swaps > MOST_TRIALS:
        raise HarnessError(f"trials: {swaps} were asked for", f"at most {MOST_TRIALS:,}")
    return ComparisonTable(
        score_files.compare(references, systems, wanted, chosen, swaps, reading_of(reading))
    )


def label(reports: Texts, *, null_words: Sequence[str] | None = None) -> pd.DataFrame:
    """The 14 CheXpert labels of reports, as the rule labeller finds them.

    Args:
        reports: as ``score`` takes references.
        null_words: texts that mean "no report"; None: the usual ones.

    Returns:
        One line per report, indexed by id, with CheXpert's columns and codes: 1 positive, 0 negative,
        -1 uncertain, NaN not mentioned.

    Raises:
        HarnessError: reports that cannot be read, or ``null_words`` that are no list of texts.
        UnavailableError: spaCy or negspacy is not installed.
    """
    import pandas as pd

    if null_words is not None:
        null_words = texts_of(null_words, "null_words", "a list of texts")
    labels = label_reports(reports, null_words)
    index = pd.Index(list(labels.ids), name="id")
    return pd.DataFrame(labels.codes, index=index, columns=list(labels.names))


def score_probabilities(
    truth: Values,
    predictions: Values,
    metrics: str | Sequence[str] | None = None,
    reading: LabelReading = scoring.DEFAULT_READING,
) -> ScoreTable:
    """Score predicted probabilities against labels: what ``harness score --task diagnose`` does.

    Args:
        truth: a data frame, or the path of a CSV, TSV or Parquet file, with a column of ids, optionally one
            of patients, and a column per label with 0 and 1; or one with the names of exclusive classes.
        predictions: the same with a column of probabilities per label. Ids and labels are joined by name.
        metrics: families or single outputs (``auroc``, ``ece``); default all that can run.
        reading: what the tables cannot say: uncertain and empty labels, exclusive classes, which labels.

    Raises:
        HarnessError: tables that cannot be read or joined, logits or percent, an unknown metric.
    """
    wanted = metrics_of(metrics)
    return ScoreTable(scoring.score_probabilities(truth, predictions, wanted, label_reading_of(reading)))


def score_images(files: ImageFiles, metrics: str | Sequence[str] | None = None) -> ScoreTable:
    """Score folders of generated images: what ``harness score --task synthesize`` does.

    Args:
        files: folders of real and of generated images, optionally of training images, and labels.
        metrics: families (``images_lite0``, ``ms_ssim``) or single numbers; default all that can run.

    Raises:
        HarnessError: folders or labels that cannot be read or do not fit, too few images, an unknown metric.
    """
    of_type(files, ImageFiles, "files", "a harness.ImageFiles")
    for name in ("real", "generated", "train"):
        if name != "train" or files.train is not None:
            path_of(getattr(files, name), f"files.{name}", "the path of a folder")
    files = replace(files, reading=label_reading_of(files.reading, "files.reading"))
    return ScoreTable(scoring_of_images.score_images(files, metrics_of(metrics)))


def reward(metric: str, **options: str | int | None) -> Reward:
    """A metric as a function of single pairs, e.g. as reward of reinforcement learning.

    Args:
        metric: an output such as ``bleu_4``, or a family with one output.
        options: as ``score`` takes them.

    Returns:
        A function of predictions and references, lists of equal length, that gives one value per pair. What
        a metric learns of all references at once, e.g. CIDEr's document frequencies, it learns of each call.
        It refuses series whose indices differ: position counts.

    Raises:
        UnknownNameError: no such metric of reports.
        UnavailableError: it cannot run here.
        HarnessError: no text is given, the family has several outputs, or it cannot be loaded.
    """
    of_type(metric, str, "metric", "the name of one number, such as 'bleu_4'")
    chosen, output = _metric_of(metric, options_of(options))
    if (reason := chosen.unavailable()) is not None:
        raise UnavailableError(f"reward {metric}: {reason}")

    def values(predictions: Sequence[str], references: Sequence[str]) -> list[float]:
        ours, theirs = paired(chosen, predictions, references)
        if not (ours or theirs):
            return []
        statistics = checked_statistics(chosen, *studies_of(chosen, ours, theirs, None))
        return [float(value) for value in chosen.alone(statistics)[output]]

    return values


def intervals(result: MetricResult, resamples: int = score_files.N_RESAMPLES) -> dict[str, Estimate]:
    """The numbers of a metric that was called by hand, each with its 95 % interval over patients.

    Args:
        result: what e.g. ``harness.metrics.Bleu()(predictions, references)`` returned.
        resamples: of the patients.

    Raises:
        HarnessError: no such result, or ``resamples`` that are no whole number from 1 on.
    """
    of_type(result, MetricResult, "result", "what a metric of harness.metrics returned when it was called")
    weights = bootstrap_weights(result.patients, whole_number(resamples, "resamples"))
    return estimate(result.metric, result.statistics, weights)


def _metric_of(name: str, options: MetricOptions) -> tuple[Metric, str]:
    """The family of an output, or of its own name where it has one output, and the output's name."""
    names: list[str] = []
    for family in registry.names("metrics"):
        if not name.startswith(family):
            names.append(family)
            continue
        metric: Metric = registry.make_metric(family, options)
        outputs = [output.name for output in metric.outputs]
        if metric.task is Task.REPORT and name in (family, *outputs):
            if name not in outputs and len(outputs) > 1:
                raise HarnessError(f"{name} has {len(outputs)} values", f"name one: {', '.join(outputs)}")
            return metric, name if name in outputs else outputs[0]
        names += outputs
    raise UnknownNameError(f"{name}: no such report metric", did_you_mean(name, names))


def _interval(estimate: Estimate) -> str:
    return f"[{estimate.lo:.4f}, {estimate.hi:.4f}]" if estimate.has_interval else ""
