"""RadGraph F1 (Delbrouck et al. 2022): overlap of the entities and relations that a model finds in two texts.

The annotations come from the package ``radgraph``; an entity or relation is kept as a digest, so the cache
holds no words of a report. The checkpoint's licence forbids shipping it.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import HarnessError, UnavailableError
from harness.core.packages import absent, lacking
from harness.core.types import Prediction, Reference, Task
from harness.core.weights import ALLOW_DOWNLOADS, downloads_allowed
from harness.metrics.annotation_cache import annotated
from harness.metrics.base import Metric, MetricOutput, Statistics
from harness.metrics.clinical.categories import Categorised, CategoryCounts
from harness.metrics.pretrained import old_tokenizer_methods, weights_digest
from harness.metrics.text.base import plain_report_texts
from harness.metrics.text.characters import NORM

FOLDER = "HARNESS_RADGRAPH"
MODEL = "HARNESS_RADGRAPH_MODEL"
LEVELS = ("simple", "partial", "complete")
MODELS = ("radgraph", "radgraph-xl", "modern-radgraph-xl")
RELATIONS = "relations"
"""Not a level of RadGraph F1: the relations alone, with words and label of both ends."""
ENTITY, RELATION = "entity ", "relation "
"""How a category of entities, or a kind of relations, is called, before its name."""
CASES = ("lower", "written")
FILES = ("config.json", "weights.th", "vocabulary")

Fact = tuple[str | bool, ...]
Facts = dict[str, list[str]]
"""Level, ``RELATIONS``, or name of a category, -> digests of what a text states there."""


class RadGraphMetric(Metric):
    """Base of the metrics over what RadGraph finds in two texts. Statistics are ``[value per output.., 1]``.

    Args:
        model: model type of the package: ``radgraph-xl``, ``radgraph`` or ``modern-radgraph-xl``.
        case: ``lower`` compares words in lower case at every level, as the package's code does since May
            2026. ``written`` compares them as its release 0.1.18 does, see ``facts_of``.

    Raises:
        HarnessError: ``model`` or ``case`` is none of these.
    """

    name: ClassVar[str]
    task: ClassVar[Task] = Task.REPORT
    group = "report findings"
    outputs: tuple[MetricOutput, ...]
    by_default: ClassVar[bool] = False  # the package annotates one text at a time
    best_by: ClassVar[str] = "columns"

    def __init__(self, model: str, case: str) -> None:
        if model not in MODELS:
            raise HarnessError(f"unknown RadGraph model {model!r}", f"known: {', '.join(MODELS)}")
        if case not in CASES:
            raise HarnessError(f"case of words {case!r} in {self.name}", f"known: {', '.join(CASES)}")
        self.model, self.case = model, case

    @property
    def signature(self) -> str:
        """Identity of the numbers; ``weights`` is a digest of the checkpoint."""
        return (
            f"{self.name}|model:{self.model}|case:{self.case}|{NORM}|weights:{self.digest}|impl:radgraph|v:2"
        )

    @abstractmethod
    def compared(self, hypothesis: Facts, reference: Facts) -> Sequence[float]:
        """The value of each output for the facts of one pair of texts."""

    def unavailable(self) -> str | None:
        """One line if the package or the weights are absent."""
        if (reason := lacking("clinical", "radgraph")) is not None:
            return reason
        if downloads_allowed() or self._has_files():
            return None
        return (
            f"{self.model} not found ({self.name}): set {FOLDER} to a folder with "
            f"{self.model}/{{{','.join(FILES)}}}, or {ALLOW_DOWNLOADS}=1"
        )

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """Values and 1 per study, float64 (n_studies, k + 1); 0 where a text is empty or states nothing.

        Raises:
            UnavailableError: the weights are absent.
        """
        hypotheses, targets = plain_report_texts(predictions, references)
        statistics = np.ones((len(hypotheses), len(self.outputs) + 1))
        texts = [text for both in zip(hypotheses, targets, strict=True) if all(both) for text in both]
        facts = dict(zip(texts, self._facts(texts), strict=True))
        for row, ours, theirs in zip(statistics, hypotheses, targets, strict=True):
            row[:-1] = self.compared(facts[ours], facts[theirs]) if ours and theirs else 0.0
        return statistics

    def reduce(self, totals: Statistics) -> dict[str, NDArray[np.float64]]:
        """Summed statistics (..., k + 1) to the mean (...) per output."""
        count = totals[..., -1:]
        means = np.divide(totals[..., :-1], count, out=np.zeros_like(totals[..., :-1]), where=count > 0)
        return {output.name: means[..., index] for index, output in enumerate(self.outputs)}

    def _facts(self, texts: Sequence[str]) -> list[Facts]:
        """Facts of texts that are not empty."""
        if texts and self.digest == "absent":
            _ = self._package  # fetches the weights, or says what to do: the cache is keyed by their digest
        family = f"radgraph|model:{self.model}|case:{self.case}|weights:{self.digest}|v:5"
        return annotated(family, texts, self._annotate)

    def _annotate(self, texts: list[str]) -> list[Facts]:
        with old_tokenizer_methods(), contextlib.redirect_stdout(io.StringIO()):
            annotations = self._package(texts)
        empty: dict[str, Any] = {"entities": {}}  # the package leaves out a text that it cannot process
        return [facts_of(annotations.get(str(index), empty), self.case) for index in range(len(texts))]

    @cached_property
    def _package(self) -> Any:
        if not self._has_files() and not downloads_allowed():
            raise UnavailableError.of(self.unavailable() or f"{self.model} not found")
        with old_tokenizer_methods(), contextlib.redirect_stdout(io.StringIO()):
            from radgraph import RadGraph

            return RadGraph(model_type=self.model, model_cache_dir=str(self._root))

    @property
    def _root(self) -> Path:
        """The user's folder, or where the package keeps its downloads."""
        folder = os.environ.get(FOLDER)
        if folder:
            return Path(folder)
        from importlib.metadata import version

        from appdirs import user_cache_dir

        return Path(user_cache_dir("radgraph")) / version("radgraph")

    def _has_files(self) -> bool:
        return all((self._root / self.model / name).exists() for name in FILES)

    @property
    def digest(self) -> str:
        """Digest of the checkpoint, ``absent`` where there is none."""
        weights = self._root / self.model / "weights.th" if not absent("radgraph") else None
        return weights_digest(weights) if weights and weights.is_file() else "absent"


class RadGraphF1(RadGraphMetric, Categorised):
    """Mean over studies of the F1 between the facts of both texts, at three levels of detail.

    ``simple`` compares entities, ``partial`` also whether an entity has relations, ``complete`` which ones.

    Args:
        model: as ``RadGraphMetric``; empty: what ``HARNESS_RADGRAPH_MODEL`` names, else ``radgraph-xl``.
        case: as ``RadGraphMetric``.
    """

    name: ClassVar[str] = "radgraph_f1"
    outputs: tuple[MetricOutput, ...] = tuple(MetricOutput(f"radgraph_f1_{level}") for level in LEVELS)

    def __init__(self, model: str = "", case: str = "lower") -> None:
        super().__init__(model or os.environ.get(MODEL) or "radgraph-xl", case)

    def compared(self, hypothesis: Facts, reference: Facts) -> Sequence[float]:
        """F1 per level."""
        return rewards(hypothesis, reference)

    @property
    def category_signature(self) -> str:
        """Identity of the numbers per category: facts are pooled over studies."""
        return self.signature.replace(f"{self.name}|", f"{self.name}|per:category|counts:pooled|", 1)

    def by_category(
        self, predictions: Sequence[Prediction], references: Sequence[Reference]
    ) -> CategoryCounts:
        """Entities by the model's label of them, and relations by their kind; a text without words has none.

        Raises:
            UnavailableError: the weights are absent.
        """
        hypotheses, targets = plain_report_texts(predictions, references)
        texts = [text for text in dict.fromkeys([*hypotheses, *targets]) if text]
        facts = {"": {}, **dict(zip(texts, self._facts(texts), strict=True))}
        studies = [
            matched_facts(facts[ours], facts[theirs])
            for ours, theirs in zip(hypotheses, targets, strict=True)
        ]
        return CategoryCounts.of(studies)


def facts_of(annotation: Mapping[str, Any], case: str = "lower") -> Facts:
    """Digests of what one annotation of the package states, by level.

    An entity with relations is at level ``complete`` one fact per relation, with the words of both ends.
    These are in lower case whatever ``case`` says: release 0.1.18 of the package has it so.

    Args:
        annotation: of one text.
        case: ``lower``: all words are in lower case; ``written``: all others are as the text has them.
    """
    entities = annotation["entities"]
    simple: list[Fact] = []
    partial: list[Fact] = []
    complete: list[Fact] = []
    pairs: list[Fact] = []
    for entity in entities.values():
        words, label, relations = entity["tokens"], entity["label"], entity["relations"]
        cased = words.lower() if case == "lower" else words
        simple.append((cased, label))
        partial.append((cased, label, True) if relations else (cased, label))
        for kind, target in relations:
            other, of_other = entities[target]["tokens"], entities[target]["label"]
            complete.append((words.lower(), label, kind, other.lower()))
            pairs.append((cased, label, kind, other.lower() if case == "lower" else other, of_other))
        if not relations:
            complete.append((cased, label))
    facts = {"simple": simple, "partial": partial, "complete": complete, RELATIONS: pairs}
    for entity_fact in simple:
        facts.setdefault(f"{ENTITY}{entity_fact[1]}", []).append(entity_fact)
    for relation in pairs:
        facts.setdefault(f"{RELATION}{relation[2]}", []).append(relation)
    digests = {fact: _digest(fact) for fact in {fact for each in facts.values() for fact in each}}
    return {level: sorted({digests[fact] for fact in each}) for level, each in facts.items()}


def matched_facts(hypothesis: Facts, reference: Facts) -> dict[str, list[float]]:
    """Category -> its facts on both sides, as ``categories.Sums`` has them."""
    names = {name for name in (*hypothesis, *reference) if name.startswith((ENTITY, RELATION))}
    sums = {}
    for name in names:
        ours, theirs = set(hypothesis.get(name, ())), set(reference.get(name, ()))
        both = float(len(ours & theirs))
        sums[name] = [both, float(len(ours)), both, float(len(theirs))]
    return sums


def rewards(hypothesis: Facts, reference: Facts) -> list[float]:
    """F1 between the facts of two texts at each level, 0 where either has none."""
    return [f1_of(hypothesis[level], reference[level]) for level in LEVELS]


def f1_of(first: Sequence[str], second: Sequence[str]) -> float:
    """F1 of two sets of facts, 0 where either has none."""
    hypothesis, reference = set(first), set(second)
    if not hypothesis or not reference:
        return 0.0
    return 2 * len(hypothesis & reference) / (len(hypothesis) + len(reference))


def _digest(fact: Fact) -> str:
    return hashlib.blake2b(repr(fact).encode("utf-8", "surrogatepass"), digest_size=10).hexdigest()
