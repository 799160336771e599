"""RaTEScore (Zhao et al. 2024) through its own package, one pair at a time so that no score changes place."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import UnavailableError, require
from harness.core.packages import absent
from harness.core.types import Prediction, Reference, Task
from harness.core.weights import ALLOW_DOWNLOADS, downloads_allowed, quiet_loading
from harness.metrics.annotation_cache import annotated_pairs
from harness.metrics.base import Metric, MetricOutput, Statistics, mean_of
from harness.metrics.clinical.categories import Categorised, CategoryCounts
from harness.metrics.pretrained import weights_digest
from harness.metrics.text.base import plain_report_texts
from harness.metrics.text.characters import NORM

FOLDER = "HARNESS_RATESCORE"
HOW_TO_INSTALL = 'uv pip install --override overrides.txt ".[ratescore]"'
PARTS = ("ner", "eval")
"""Subfolders with the entity recogniser and the encoder, each in the Hugging Face layout."""


class RateScore(Metric, Categorised):
    """Mean over studies of the package's score.

    The package drops a report without a sentence from its list, which gives every later pair the score of
    another; here such a pair scores 0. Where a text has sentences but no entity, the package's 0.5 stands.
    Statistics are ``[score, 1]``.
    """

    name: ClassVar[str] = "ratescore"
    task: ClassVar[Task] = Task.REPORT
    group = "report findings"
    outputs: tuple[MetricOutput, ...] = (MetricOutput("ratescore"),)
    by_default: ClassVar[bool] = False  # two transformers, one pair at a time
    best_by: ClassVar[str] = "columns"

    @property
    def signature(self) -> str:
        """Identity of the numbers; ``weights`` are digests of both models."""
        return f"ratescore|matrix:long|empty:0|{NORM}|weights:{self._digest}|impl:ratescore|v:2"

    def unavailable(self) -> str | None:
        """One line if a package or the weights are absent."""
        names = absent("RaTEScore", "medspacy")
        if names:
            return f"needs {' and '.join(names)} (ratescore): {HOW_TO_INSTALL}"
        if downloads_allowed() or _folder() is not None:
            return None
        return (
            f"weights not found (ratescore): set {FOLDER} to a folder with {' and '.join(PARTS)}, "
            f"or {ALLOW_DOWNLOADS}=1"
        )

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """Score and 1 per study, float64 (n_studies, 2).

        Raises:
            UnavailableError: the package or the weights are absent.
        """
        hypotheses, targets = plain_report_texts(predictions, references)
        statistics = np.ones((len(hypotheses), 2))
        statistics[:, 0] = annotated_pairs(
            self.signature, hypotheses, targets, lambda pairs: [self._score(*both) for both in pairs]
        )
        return statistics

    def reduce(self, totals: Statistics) -> dict[str, NDArray[np.float64]]:
        """Summed statistics (..., 2) to the mean score (...)."""
        return {"ratescore": mean_of(totals)}

    @property
    def category_signature(self) -> str:
        """Identity of the numbers per category: similarities are pooled over studies."""
        return self.signature.replace(f"{self.name}|", f"{self.name}|per:category|sums:pooled|", 1)

    def by_category(
        self, predictions: Sequence[Prediction], references: Sequence[Reference]
    ) -> CategoryCounts:
        """How similar the entities of each type are to the nearest of the other text.

        Weights and penalties are the package's, so that the sums of a study over all types give its score.
        Where the other text has no entity, an entity counts 0 with the weight of two entities of its type.

        Raises:
            UnavailableError: the package or the weights are absent.
        """
        hypotheses, targets = plain_report_texts(predictions, references)
        studies = annotated_pairs(
            self.category_signature,
            hypotheses,
            targets,
            lambda pairs: [self._sums(*both) for both in pairs],
        )
        return CategoryCounts.of(studies)

    def _sums(self, hypothesis: str, reference: str) -> dict[str, list[float]]:
        """Type -> sums, as ``categories.Sums`` has them."""
        sides = [self._entities(text) for text in (hypothesis, reference)]
        sums: dict[str, list[float]] = {}
        for place, (own, other) in enumerate((sides, sides[::-1])):
            for kind, weight, similar in nearest(own, other, self._package.affinity_matrix):
                total = sums.setdefault(kind, [0.0] * 4)
                total[2 * place] += weight * similar
                total[2 * place + 1] += weight
        return sums

    def _entities(self, text: str) -> tuple[list[str], Any]:
        """Types of a text's entities, and their vectors (n, D)."""
        package = self._package
        from RaTEScore.score import process_embedding, run_ner

        named: list[tuple[str, str]] = []
        if self._sentences(text):
            (named,) = run_ner([text], package.idx2label, package.tokenizer, package.model, package.device, 1)
        vectors, kinds = process_embedding(named, package.eval_tokenizer, package.eval_model, package.device)
        return kinds, vectors

    def _score(self, hypothesis: str, reference: str) -> float:
        package = self._package
        if not (self._sentences(hypothesis) and self._sentences(reference)):
            return 0.0
        (score,) = package.compute_score([hypothesis], [reference])
        return float(score)

    @staticmethod
    def _sentences(text: str) -> list[str]:
        """The sentences that the package reads; without any it fails, or shortens its list of scores."""
        from RaTEScore.utils import sentence_split

        sentences: list[str] = sentence_split([text])[0]
        return sentences

    @cached_property
    def _package(self) -> Any:
        require(self.unavailable())
        import torch

        try:
            from loguru import logger

            logger.disable("PyRuSH")  # else it prints every report, word by word
            from RaTEScore import RaTEScore
        except ImportError as error:
            raise UnavailableError(f"ratescore cannot be imported: {error}", HOW_TO_INSTALL) from error
        folder = _folder()
        models = {"bert_model": str(folder / "ner"), "eval_model": str(folder / "eval")} if folder else {}
        with quiet_loading():
            return RaTEScore(use_gpu=torch.cuda.is_available(), **models)

    @property
    def _digest(self) -> str:
        folder = _folder()
        if folder is None:
            return "hub"
        return "-".join(weights_digest(_weights(folder / part)) for part in PARTS)


def nearest(
    own: tuple[list[str], Any], other: tuple[list[str], Any], weights: Mapping[tuple[str, str], float]
) -> Iterator[tuple[str, float, float]]:
    """Type, weight and similarity of each entity to the nearest of another text, as the package has them.

    Args:
        own, other: types (n,) and vectors (n, D) of entities.
        weights: of pairs of types, and the factor on a finding that meets a denial.
    """
    (kinds, vectors), (others, their_vectors) = own, other
    if not others:
        yield from ((kind, weights[kind, kind], 0.0) for kind in kinds)
    if not kinds or not others:
        return
    from torch.nn.functional import normalize

    best = (normalize(vectors, dim=1) @ normalize(their_vectors, dim=1).T).max(dim=1)
    for kind, place, similar in zip(kinds, best.indices.tolist(), best.values.tolist(), strict=True):
        met = others[place]
        opposite = kind != met and "ANATOMY" not in (kind, met) and _denied(kind) != _denied(met)
        yield kind, weights[kind, met], similar * (weights["NEG", "WEIGHT"] if opposite else 1.0)


def _denied(kind: str) -> bool:
    return kind.startswith("NON-")


def _folder() -> Path | None:
    """The user's folder, or None where it lacks a part."""
    folder = Path(os.environ.get(FOLDER) or ".")
    named = FOLDER in os.environ
    return folder if named and all(_weights(folder / part).is_file() for part in PARTS) else None


def _weights(folder: Path) -> Path:
    safe = folder / "model.safetensors"
    return safe if safe.is_file() else folder / "pytorch_model.bin"
