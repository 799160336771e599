"""F1 of the 14 CheXpert observations: what the CheXbert metric and its rule-based stand-in share.

A labeller sorts every observation of a report into one of four classes, numbered as CheXbert numbers them
(Smit et al. 2020). A policy decides what an uncertain mention counts as, and F1 follows from counts.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import HarnessError
from harness.core.names import did_you_mean
from harness.core.types import CHEXPERT_LABELS, LabelCounts, Prediction, Reference, Task
from harness.metrics.base import Metric, MetricOutput, Statistics
from harness.metrics.common_labels import common_labels, common_remark, rare_remark
from harness.metrics.text.base import report_texts

LABELS = (*CHEXPERT_LABELS[1:], CHEXPERT_LABELS[0])
"""CheXbert's order: No Finding last, where the datasets have it first."""

FIVE = ("Cardiomegaly", "Edema", "Consolidation", "Atelectasis", "Pleural Effusion")
"""The observations of CheXpert's leaderboard (Irvin et al. 2019)."""

BLANK, POSITIVE, NEGATIVE, UNCERTAIN = range(4)

Policy = Literal["positive", "negative", "ignored"]
POLICIES: tuple[Policy, ...] = get_args(Policy)

SUBSETS = {"14": list(range(len(LABELS))), "5": [LABELS.index(name) for name in FIVE]}
AVERAGES = ("micro", "macro", "weighted", "example")

Classes = NDArray[np.int8]
Floats = NDArray[np.float64]


class LabelF1(Metric):
    """Base of the F1 metrics over CheXpert observations; a subclass labels texts in ``classes``.

    Args:
        uncertain: what an uncertain label counts as: ``positive``, ``negative`` or ``ignored``.

    Raises:
        HarnessError: ``uncertain`` is none of these.
    """

    name: ClassVar[str]
    task: ClassVar[Task] = Task.REPORT
    group = "report findings"
    outputs: tuple[MetricOutput, ...]

    def __init__(self, uncertain: str = "positive") -> None:
        self.policy = known_policy(uncertain)

    @abstractmethod
    def classes(self, texts: Sequence[str]) -> Classes:
        """Classes int8 (n, 14) of distinct texts, in the order of ``LABELS``."""

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """Float64 (n_studies, 59), as ``label_statistics`` says."""
        return self._counted(*self.both_sides(predictions, references))

    def rematched(
        self, predictions: Sequence[Prediction], references: Sequence[Reference], orders: NDArray[np.intp]
    ) -> dict[str, Floats]:
        """As ``Metric.rematched``; texts are labelled once for all orders."""
        predicted, expected = self.both_sides(predictions, references)
        totals = [self._counted(predicted[order], expected).sum(axis=0) for order in orders]
        return self.reduce(np.array(totals))

    def _counted(self, predicted: Classes, expected: Classes) -> Statistics:
        return label_statistics(predicted, expected, self.policy)

    def both_sides(
        self, predictions: Sequence[Prediction], references: Sequence[Reference]
    ) -> tuple[Classes, Classes]:
        """Classes (n, 14) of predicted and of reference reports; each distinct text is labelled once.

        Characters are brought to one spelling first: a ligature or a soft hyphen changes no label.
        """
        hypotheses, targets = report_texts(predictions, references)
        place = {text: index for index, text in enumerate(dict.fromkeys([*hypotheses, *targets]))}
        classes = self.classes(list(place)) if place else np.zeros((0, len(LABELS)), dtype=np.int8)
        predicted, expected = (
            classes[np.array([place[text] for text in texts], dtype=np.intp)]
            for texts in (hypotheses, targets)
        )
        return predicted, expected

    def reduce(self, totals: Statistics) -> dict[str, Floats]:
        """Summed statistics (..., 59) to F1 (...) per output."""
        values = averaged_f1(totals)
        return {output.name: values[output.name.removeprefix(f"{self.name}_")] for output in self.outputs}

    def remarks(self, statistics: Statistics) -> dict[str, str]:
        """Which labels are rare in the references: left out of one average, included in the other."""
        positives = statistics[:, : len(LABELS)] + statistics[:, 2 * len(LABELS) : 3 * len(LABELS)]
        counts = LabelCounts(LABELS, tuple(int(count) for count in positives.sum(axis=0)))
        remarks = {
            f"{self.name}_macro_common": common_remark(counts),
            f"{self.name}_macro_14": rare_remark(counts),
        }
        return {output: remark for output, remark in remarks.items() if remark}


class LabelPrecisionRecall(LabelF1):
    """Base of precision and recall of CheXpert observations: the same labels as an F1 family's."""

    by_default: ClassVar[bool] = False  # F1 holds both
    on_request: ClassVar[bool] = True

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """Float64 (n_studies, 47), as ``precision_recall_statistics`` says."""
        return super().statistics(predictions, references)

    def reduce(self, totals: Statistics) -> dict[str, Floats]:
        """Summed statistics (..., 47) to precision and recall (...) per output."""
        values = averaged_precision_recall(totals)
        return {output.name: values[output.name.removeprefix(f"{self.name}_")] for output in self.outputs}

    def remarks(self, statistics: Statistics) -> dict[str, str]:
        """None: no average over common labels."""
        return {}

    def _counted(self, predicted: Classes, expected: Classes) -> Statistics:
        return precision_recall_statistics(predicted, expected, self.policy)


def known_policy(name: str) -> Policy:
    """``name`` as a policy.

    Raises:
        HarnessError: with the nearest policy.
    """
    for policy in POLICIES:
        if policy == name:
            return policy
    raise HarnessError(f"--uncertain {name}: no policy for uncertain findings", did_you_mean(name, POLICIES))


def label_outputs(family: str) -> tuple[MetricOutput, ...]:
    """``family_micro_14`` and so on: every average of the 14 labels, of the five, and two more.

    These are ``family_micro_13`` and ``family_macro_common``.
    """
    averages = [f"{average}_{size}" for size in SUBSETS for average in AVERAGES]
    return tuple(MetricOutput(f"{family}_{average}") for average in [*averages, "micro_13", "macro_common"])


def precision_recall_outputs(family: str) -> tuple[MetricOutput, ...]:
    """``family_precision_micro_14`` and so on: averages over all 14 labels and over the five."""
    return tuple(
        MetricOutput(f"{family}_{score}_{average}_{size}")
        for score in ("precision", "recall")
        for size in SUBSETS
        for average in ("micro", "macro", "example")
    )


def confusion(hypotheses: Classes, references: Classes, policy: Policy) -> NDArray[np.bool_]:
    """True positives, false positives and false negatives of each study and label.

    Args:
        hypotheses: predicted classes (n, L).
        references: reference classes (n, L).
        policy: what an uncertain label counts as. ``ignored`` leaves out a label of a study where either side
            is uncertain.

    Returns:
        bool (3, n, L).
    """
    positive = (POSITIVE, UNCERTAIN) if policy == "positive" else (POSITIVE,)
    ours, theirs = np.isin(hypotheses, positive), np.isin(references, positive)
    counts = np.stack([ours & theirs, ours & ~theirs, ~ours & theirs])
    if policy == "ignored":
        counts &= (hypotheses != UNCERTAIN) & (references != UNCERTAIN)
    return counts


def f1(tp: Floats, fp: Floats, fn: Floats) -> Floats:
    """F1 from counts of one shape, 0 where nothing is positive on either side."""
    return _ratio(2 * tp, 2 * tp + fp + fn)


def label_statistics(hypotheses: Classes, references: Classes, policy: Policy) -> Statistics:
    """Statistics of classes (n, 14), n x 59.

    These are ``[TP x 14, FP x 14, FN x 14, F1 of the 14, F1 of the five, 1, common x 14]``. The two F1 values
    are those of the one study, as example-based F1 averages them. ``common`` is 1 in every row for each label
    that is common in all references together, so that no resample changes which labels are.
    """
    counts = confusion(hypotheses, references, policy).astype(np.float64)
    per_study = [f1(*counts[:, :, subset].sum(axis=-1)) for subset in SUBSETS.values()]
    common = common_labels((counts[0] + counts[2]).sum(axis=0)).astype(np.float64)
    everywhere = np.broadcast_to(common, (len(hypotheses), len(LABELS)))
    return np.column_stack([*counts, *per_study, np.ones(len(hypotheses)), everywhere])


def averaged_f1(totals: Statistics) -> dict[str, Floats]:
    """Sums of ``label_statistics`` (..., 59) to values (...) named ``micro_14``, ``macro_14`` and so on.

    The same as scikit-learn's ``f1_score`` with ``zero_division=0``: ``macro`` is over all labels, also
    those that never occur; ``weighted`` weighs a label by its positive references; ``example`` is
    ``samples``. ``micro_13`` leaves out No Finding, which a fixed normal report gets right in every normal
    study. ``macro_common`` is over the common labels.
    """
    n = len(LABELS)
    counts = totals[..., : 3 * n].reshape(*totals.shape[:-1], 3, n)
    studies, common = totals[..., 3 * n + len(SUBSETS)], totals[..., -n:] > 0
    values = {"micro_13": f1(*np.moveaxis(counts[..., : n - 1].sum(axis=-1), -1, 0))}
    of_labels = f1(*np.moveaxis(counts, -2, 0))
    values["macro_common"] = _ratio((of_labels * common).sum(axis=-1), common.sum(axis=-1))
    for index, (size, subset) in enumerate(SUBSETS.items()):
        tp, fp, fn = np.moveaxis(counts[..., subset], -2, 0)
        each, support = f1(tp, fp, fn), tp + fn
        values[f"micro_{size}"] = f1(tp.sum(axis=-1), fp.sum(axis=-1), fn.sum(axis=-1))
        values[f"macro_{size}"] = each.mean(axis=-1)
        values[f"weighted_{size}"] = _ratio((each * support).sum(axis=-1), support.sum(axis=-1))
        values[f"example_{size}"] = _ratio(totals[..., 3 * n + index], studies)
    return values


def precision_recall_statistics(hypotheses: Classes, references: Classes, policy: Policy) -> Statistics:
    """Statistics of classes (n, 14), n x 47.

    These are ``[TP x 14, FP x 14, FN x 14]``, the study's own precision and recall over the 14, both over the
    five, and 1.
    """
    counts = confusion(hypotheses, references, policy).astype(np.float64)
    own = []
    for subset in SUBSETS.values():
        tp, fp, fn = counts[:, :, subset].sum(axis=-1)
        own += [_ratio(tp, tp + fp), _ratio(tp, tp + fn)]
    return np.column_stack([*counts, *own, np.ones(len(hypotheses))])


def averaged_precision_recall(totals: Statistics) -> dict[str, Floats]:
    """Sums of ``precision_recall_statistics`` (..., 47) to values (...), ``precision_micro_14`` and so on.

    The same as scikit-learn's scores with ``zero_division=0``: a label that is never called has precision 0.
    """
    n = len(LABELS)
    counts = totals[..., : 3 * n].reshape(*totals.shape[:-1], 3, n)
    values = {}
    for index, (size, subset) in enumerate(SUBSETS.items()):
        tp, fp, fn = np.moveaxis(counts[..., subset], -2, 0)
        for number, (score, wrong) in enumerate((("precision", fp), ("recall", fn))):
            sums = tp.sum(axis=-1), (tp + wrong).sum(axis=-1)
            values[f"{score}_micro_{size}"] = _ratio(*sums)
            values[f"{score}_macro_{size}"] = _ratio(tp, tp + wrong).mean(axis=-1)
            values[f"{score}_example_{size}"] = _ratio(
                totals[..., 3 * n + 2 * index + number], totals[..., -1]
            )
    return values


def _ratio(value: Floats, count: Floats) -> Floats:
    ratio: Floats = np.divide(value, count, out=np.zeros(np.shape(count)), where=np.asarray(count) > 0)
    return ratio
