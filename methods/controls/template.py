"""The control that ignores its input: the medoid training report, class frequencies as probabilities."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.core.types import Inputs, Prediction, Study
from harness.core.words import Words
from harness.method.config import MethodConfig
from harness.method.contract import FitRun, Method
from methods.controls.card import TEMPLATE
from methods.controls.shared import read_json


class TemplateConfig(MethodConfig):
    """The template has one parameter: ``order``, the longest n-gram that similarity looks at."""

    order: int = 4


class Template(Method[TemplateConfig]):
    """The same answer for everybody: the medoid training report and the class priors."""

    Config = TemplateConfig
    card = TEMPLATE

    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        """Choose the report and count the labels."""
        reports = [study.report for study in train if study.report]
        self.report = medoid(reports, self.info.words, self.config.order) if reports else None
        self.prior = label_prior(train)

    def predict(self, inputs: Inputs) -> list[Prediction]:
        """The fixed answer, B times."""
        return [Prediction(report=self.report, probabilities=self.prior) for _ in inputs.ids]

    def save(self, directory: Path) -> None:
        """Write ``template.json``."""
        directory.mkdir(parents=True, exist_ok=True)
        prior = None if self.prior is None else self.prior.tolist()
        (directory / "template.json").write_text(json.dumps({"report": self.report, "prior": prior}))

    def load(self, directory: Path) -> None:
        """Read ``template.json``."""
        content = read_json(directory / "template.json")
        self.report = content["report"]
        self.prior = None if content["prior"] is None else np.asarray(content["prior"])


def medoid(reports: Sequence[str], words: Words, order: int = 4) -> str:
    """The report most like all others: largest mean cosine of n-gram counts (1 to ``order``).

    The mean over all reports is one sum of unit vectors, so no pair is ever compared.
    """
    unique = Counter(reports)
    vectors = {text: _unit_ngrams(words.split(text), order) for text in unique}
    total: Counter[tuple[str, ...]] = Counter()
    for text, times in unique.items():
        for gram, weight in vectors[text].items():
            total[gram] += times * weight  # type: ignore[assignment]
    return max(unique, key=lambda text: (sum(w * total[gram] for gram, w in vectors[text].items()), text))


def label_prior(studies: Sequence[Study]) -> NDArray[np.float64] | None:
    """Mean label vector (n_labels,) of the studies that have labels."""
    labels = [study.labels for study in studies if study.labels is not None]
    return np.mean(labels, axis=0, dtype=np.float64) if labels else None


def _unit_ngrams(tokens: Sequence[str], order: int) -> dict[tuple[str, ...], float]:
    counts = Counter(
        tuple(tokens[i : i + n]) for n in range(1, order + 1) for i in range(len(tokens) - n + 1)
    )
    norm = sum(count * count for count in counts.values()) ** 0.5
    return {gram: count / norm for gram, count in counts.items()}
