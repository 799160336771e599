"""BERTScore as RadCliQ-v1 reads it: rare words weigh more, and unrelated texts score about 0."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from harness.core.errors import require
from harness.core.types import Prediction, Reference
from harness.metrics.annotation_cache import annotated_pairs
from harness.metrics.base import MetricOutput, Statistics
from harness.metrics.learned.bertscore_folder import FolderBertScore
from harness.metrics.learned.model_folder import ModelFolder
from harness.metrics.text.base import plain_report_texts
from harness.metrics.text.bertscore import MAX_TOKENS, TokenVectors, best_matches, f1, reader, tokens_of
from harness.metrics.text.characters import NORM

if TYPE_CHECKING:
    from torch import Tensor

MODEL = "distilroberta-base"
LAYER = 5
BASELINE = 0.8473319
"""F1 of unrelated English sentences at layer 5: ``distilroberta-base.tsv`` of bert-score 0.3.13."""

FLOOR = -BASELINE / (1.0 - BASELINE)
"""A pair of raw F1 0."""


class BertScoreIdf(FolderBertScore):
    """Mean over studies of the rescaled BERTScore F1 with idf weights.

    ``HARNESS_DISTILROBERTA`` is a folder of distilroberta-base in the Hugging Face layout; otherwise the
    model comes from the Hugging Face cache. A word piece weighs log((N + 1) / (n + 1)) where n of the N
    references that ``statistics`` gets have it: these counts belong to the reference set, and neither a
    resample nor a mask changes them. Statistics are ``[F1, 1, 1 where the raw F1 is 0]``.
    """

    name: ClassVar[str] = "bertscore_idf"
    outputs: tuple[MetricOutput, ...] = (MetricOutput("bertscore_idf_f1", bounds=(FLOOR, 1.0)),)
    files = ModelFolder("HARNESS_DISTILROBERTA", "", "distilroberta-base")
    model = MODEL
    layer = LAYER
    best_by: ClassVar[str] = "row"
    one_reference: ClassVar[bool] = True

    @property
    def signature(self) -> str:
        """Identity of the numbers; ``idf:references`` are those of the printed n."""
        return (
            f"{self.name}|model:{MODEL}|weights:{self._digest}|layer:{LAYER}|idf:references"
            f"|rescale:{BASELINE}|max:{MAX_TOKENS}|{NORM}|impl:bert-score|v:1"
        )

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """Rescaled F1, 1, and whether the raw F1 is 0, per study: float64 (n_studies, 3).

        Raises:
            UnavailableError: the model is absent.
        """
        hypotheses, targets = plain_report_texts(predictions, references)
        statistics = np.ones((len(hypotheses), 3))
        if not hypotheses:
            return statistics
        require(self.unavailable())
        weights = self._idf(targets)
        idf = hashlib.sha256(weights.numpy().tobytes()).hexdigest()[:16]
        family = f"{self.signature}|df:{idf}"
        raw = np.array(annotated_pairs(family, hypotheses, targets, partial(self._raw, weights)))
        statistics[:, 0] = (raw - BASELINE) / (1.0 - BASELINE)
        statistics[:, 2] = raw == 0.0
        return statistics

    def remarks(self, statistics: Statistics) -> dict[str, str]:
        """How many pairs have no words that count."""
        count = int(statistics[:, 2].sum())
        if not count:
            return {}
        texts = "an empty text, or one all of whose words every reference has"
        return {self.outputs[0].name: f"{count} of {len(statistics)} pairs score {FLOOR:.2f}: {texts}"}

    def _idf(self, references: Sequence[str]) -> Tensor:
        """Weight of every entry of the vocabulary, float32 (V,)."""
        import torch

        distinct = list(dict.fromkeys(references))
        tokenizer, limit = reader(self._weights(), self.max_tokens)
        tokens = dict(zip(distinct, tokens_of(tokenizer, limit, distinct), strict=True))
        counts = Counter(chain.from_iterable(set(tokens[text]) for text in references))
        n = len(references)
        weights = torch.full((len(tokenizer),), math.log(n + 1))
        for token, count in counts.items():
            weights[token] = math.log((n + 1) / (count + 1))
        return weights

    def _raw(self, weights: Tensor, pairs: Sequence[tuple[str, str]]) -> list[float]:
        vectors = self._encoder.vectors([text for both in pairs for text in both])
        return [weighted_f1(vectors[ours], vectors[theirs], weights) for ours, theirs in pairs]


def weighted_f1(hypothesis: TokenVectors, reference: TokenVectors, weights: Tensor) -> float:
    """F1 of one pair with the weight of each entry of the vocabulary; 0 where a text has no weight."""
    sides = []
    for best, ids in zip(best_matches(hypothesis, reference), (hypothesis.ids, reference.ids), strict=True):
        total = float(weights[ids].sum())
        if total == 0.0:
            return 0.0
        sides.append(float((best * weights[ids]).sum()) / total)
    return f1(*sides)
