"""Real and generated images side by side: pairs where the names are the same, else two independent sets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.evaluation.image_files.findings import ImageLabels
from harness.evaluation.image_files.folders import ImageSet
from harness.evaluation.score_files import N_RESAMPLES
from harness.metrics.images.extractors import Floats
from harness.metrics.text.hygiene import Remark
from harness.statistics.bootstrap import bootstrap_weights, interval
from harness.statistics.estimate import Estimate

Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Sides:
    """Two sets of images.

    Attributes:
        real, generated: the sets.
        rows: of either set, those that count.
        patients: of each image of either set.
        paired: both have the same names, so that a resample draws pairs.
    """

    real: ImageSet
    generated: ImageSet
    rows: tuple[Rows, Rows]
    patients: tuple[tuple[str, ...], tuple[str, ...]]
    paired: bool

    @classmethod
    def of(cls, real: ImageSet, generated: ImageSet, labels: ImageLabels | None) -> Sides:
        """All images of both sets; each is its own patient where no labels name one."""
        patients = (real.names, generated.names) if labels is None else labels.patients
        rows = (np.arange(len(real)), np.arange(len(generated)))
        return cls(real, generated, rows, patients, real.names == generated.names)

    def part(self, real: Rows, generated: Rows) -> Sides:
        """Some images of either set."""
        return Sides(self.real, self.generated, (real, generated), self.patients, self.paired)

    def real_features(self, extractor: str) -> Floats:
        """Of the real images that count, (n, d)."""
        return self.real.features[extractor][self.rows[0]]

    def generated_features(self, extractor: str) -> Floats:
        """Of the generated images that count, (m, d)."""
        return self.generated.features[extractor][self.rows[1]]

    def weights(self, resamples: int = N_RESAMPLES) -> tuple[Floats, Floats]:
        """Bootstrap weights (B, n) and (B, m): of patients, the same on both sides where they are pairs."""
        drawn = [
            np.asarray(bootstrap_weights(own, resamples, 0 if self.paired else seed))
            for seed, own in enumerate(self.patients)
        ]
        return drawn[0][:, self.rows[0]], drawn[1][:, self.rows[1]]

    def remarks(self) -> list[Remark]:
        """How the names of the two sets agree."""
        if self.paired:
            return []
        alone = [name for name in self.generated.names if name not in set(self.real.names)]
        return self.generated.remark("unpaired", "have no real image of their name", alone)


def with_interval(value: float, samples: Floats, n: int) -> Estimate:
    """A value of n images with the interval of its bootstrap replicates (B,)."""
    return Estimate(float(value), *interval(samples), n=n)
