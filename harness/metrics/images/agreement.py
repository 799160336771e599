"""Do two modalities that were generated together agree more than two that were generated one by one?

Both are generated from the same third modality alone, with the same noise. Agreement is measured between the
two generated ones, in a space that comes from the real test pairs alone and, as for ``alignment``, was fitted
on the other half of the patients. What they share through their common condition they share either way: the
difference is what the branches of a joint generation tell each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import HarnessError
from harness.core.packages import lacking
from harness.core.types import JointPrediction, Prediction, Reference, Task
from harness.metrics.base import Metric, MetricOutput, Statistics, mean_of
from harness.metrics.images.extractors import Floats
from harness.metrics.images.shared_space import (
    GRID,
    IMAGE_RANK,
    TEXT_RANK,
    WIDTH,
    coarse,
    gap,
    halves,
    space,
    tfidf,
)

REPORT = "report"


class JointAgreement(Metric):
    """Cosine of two generated modalities of a study, minus that with the partners of all other studies.

    * ``.._joint``: of what was generated together; ``.._apart``: one by one;
    * ``.._gain``: the difference of the two, paired by study; 0 where the branches exchange nothing;
    * ``.._real``: of the real pairs.

    Images count with their ``coarse`` features, grey levels of 16 x 16 areas, reports with TF-IDF.
    """

    task: ClassVar[Task] = Task.SYNTHESIZE
    by_default: ClassVar[bool] = False
    plain: ClassVar[bool] = False

    @property
    def signature(self) -> str:
        """Identity of the numbers."""
        first, second = self.generates
        sides = ",".join(_features(name) for name in self.generates)
        return (
            f"{self.name}|pair:{first}+{second}-from-the-third|space:cca{WIDTH}({sides})"
            "|fit:real-test-pairs,two-halves-of-patients|v:1"
        )

    def unavailable(self) -> str | None:
        """One line if what makes TF-IDF is absent."""
        return lacking("images", "sklearn") if REPORT in self.generates else None

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """``[joint, apart, real, 1]`` per study (n, 4); zeros where a study has no real pair.

        Raises:
            HarnessError: a prediction lacks a modality, or is no ``JointPrediction``.
        """
        statistics = np.zeros((len(references), 4))
        whole = [row for row, reference in enumerate(references) if _has(reference, self.generates)]
        if len(whole) < 4:
            return statistics
        real = [references[row] for row in whole]
        joint = [_checked(predictions[row], references[row], self.generates) for row in whole]
        sets: list[Sequence[Prediction | Reference]] = [real, joint, [each.apart for each in joint]]
        first, second = (_vectors(name, sets) for name in self.generates)
        half = halves(real)
        for one in (half, ~half):
            maps = space(first[0][~one], second[0][~one])
            values = [
                gap(maps[0](left[one]), maps[1](right[one]))[1]
                for left, right in zip(first, second, strict=True)
            ]
            rows = np.array(whole)[one]
            of_real, of_joint, of_apart = values
            statistics[rows] = np.stack([of_joint, of_apart, of_real, np.ones_like(of_real)], axis=1)
        return statistics

    def reduce(self, totals: Statistics) -> dict[str, NDArray[np.float64]]:
        """Means over studies, and the difference of the first two."""
        joint, apart, real = (mean_of(totals, column, 3) for column in range(3))
        values = (joint, apart, joint - apart, real)
        return {output.name: each for output, each in zip(self.outputs, values, strict=True)}


def _outputs(name: str) -> tuple[MetricOutput, ...]:
    bounds = {"joint": 2.0, "apart": 2.0, "gain": 4.0, "real": 2.0}
    return tuple(MetricOutput(f"{name}_{kind}", bounds=(-most, most)) for kind, most in bounds.items())


class ViewAgreement(JointAgreement):
    """Of both views, generated from the report."""

    name: ClassVar[str] = "agreement_views"
    generates: ClassVar[tuple[str, ...]] = ("frontal", "lateral")
    outputs: tuple[MetricOutput, ...] = _outputs(name)


class ReportAgreement(JointAgreement):
    """Of frontal view and report, generated from the lateral view."""

    name: ClassVar[str] = "agreement_report"
    generates: ClassVar[tuple[str, ...]] = ("frontal", REPORT)
    outputs: tuple[MetricOutput, ...] = _outputs(name)


def _features(name: str) -> str:
    return f"tfidf-svd{TEXT_RANK}" if name == REPORT else f"grey{GRID}x{GRID}-pca{IMAGE_RANK}"


def _has(study: Prediction | Reference, names: Sequence[str]) -> bool:
    """Whether there is something of every modality."""
    images = study.images or {}
    return all((study.report or "").strip() != "" if name == REPORT else name in images for name in names)


def _checked(prediction: Prediction, reference: Reference, names: Sequence[str]) -> JointPrediction:
    """The prediction, which has every modality twice; a generated report may be empty."""
    if isinstance(prediction, JointPrediction):
        views = [name for name in names if name != REPORT]
        if all(_has(each, views) for each in (prediction, prediction.apart)):
            return prediction
    raise HarnessError(
        f"study {reference.id!r} has no {' and '.join(names)} that were generated together and one by one"
    )


def _vectors(name: str, sets: Sequence[Sequence[Prediction | Reference]]) -> list[Floats]:
    """Features (n, d) of one modality of each set; reports by the words of the first set, the real ones."""
    if name == REPORT:
        return tfidf(*([each.report or "" for each in one] for one in sets))
    return [coarse([(each.images or {})[name] for each in one]) for one in sets]
