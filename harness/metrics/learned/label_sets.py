"""F1 of the labels that a published classifier gives to both texts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import CorruptFileError, require
from harness.core.types import Prediction, Reference, Task
from harness.core.weights import quiet_loading
from harness.metrics.annotation_cache import annotated
from harness.metrics.base import Metric, MetricOutput, Statistics, mean_of
from harness.metrics.clinical.labels import f1
from harness.metrics.learned.model_folder import ModelFolder
from harness.metrics.pretrained import padded, token_batches
from harness.metrics.text.base import plain_report_texts
from harness.metrics.text.characters import NORM

MAX_TOKENS = 512
VALUES = ("f1_weighted", "precision_weighted", "recall_weighted", "f1_micro", "f1_macro", "exact")

Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]


def set_outputs(family: str) -> tuple[MetricOutput, ...]:
    """``family_f1_weighted`` and so on."""
    return tuple(MetricOutput(f"{family}_{value}") for value in VALUES)


class LabelSetF1(Metric):
    """Base of the F1 metrics over the labels of one classifier.

    ``weighted`` weighs a label by its positive references, ``macro`` is over all labels, also those that
    never occur, and ``exact`` is the share of studies with the same labels on both sides. Statistics are
    ``[TP x L, FP x L, FN x L, exact, 1]``.

    Attributes:
        files: where the classifier is.
        size: labels that it tells apart.
    """

    name: ClassVar[str]
    task: ClassVar[Task] = Task.REPORT
    group = "report findings"
    outputs: tuple[MetricOutput, ...]
    language: ClassVar[str | None] = "en"
    by_default: ClassVar[bool] = False
    on_request: ClassVar[bool] = True

    files: ClassVar[ModelFolder]
    size: ClassVar[int]

    @abstractmethod
    def flags(self, texts: Sequence[str]) -> Flags:
        """Labels of distinct texts, (n, L)."""

    def unavailable(self) -> str | None:
        """One line if a package or the model is absent."""
        return self.files.lacking(self.name)

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """Counts per study, float64 (n_studies, 3 L + 2).

        Raises:
            UnavailableError: the model is absent.
        """
        sides = plain_report_texts(predictions, references)
        require(self.unavailable())
        place = {text: index for index, text in enumerate(dict.fromkeys([*sides[0], *sides[1]]))}
        flags = self.flags(list(place))
        ours, theirs = (flags[np.array([place[text] for text in side], dtype=np.intp)] for side in sides)
        exact = (ours == theirs).all(axis=1)
        return np.column_stack(
            [ours & theirs, ours & ~theirs, ~ours & theirs, exact, np.ones(len(ours))]
        ).astype(np.float64)

    def reduce(self, totals: Statistics) -> dict[str, Floats]:
        """Summed statistics (..., 3 L + 2) to values (...); as scikit-learn's with ``zero_division=0``."""
        labels = (totals.shape[-1] - 2) // 3
        tp, fp, fn = np.moveaxis(totals[..., : 3 * labels].reshape(*totals.shape[:-1], 3, labels), -2, 0)
        support = tp + fn
        each = {"f1": f1(tp, fp, fn), "precision": _ratio(tp, tp + fp), "recall": _ratio(tp, support)}
        values = {
            f"{what}_weighted": _ratio((value * support).sum(axis=-1), support.sum(axis=-1))
            for what, value in each.items()
        }
        values["f1_micro"] = f1(tp.sum(axis=-1), fp.sum(axis=-1), fn.sum(axis=-1))
        values["f1_macro"] = each["f1"].mean(axis=-1)
        values["exact"] = mean_of(totals, -2, -1)
        return {f"{self.name}_{value}": values[value] for value in VALUES}

    def vocabulary(self) -> Path | None:
        """Folder of a BERT's vocabulary; None: the tokenizer lies with the model."""
        return None

    def classified(self, texts: Sequence[str]) -> Flags:
        """What the classifier finds in each text, (n, L), from the cache where it has the text."""
        if self.files.digest == "absent":
            self.files.fetched(self.name)  # the cache is keyed by the digest
        places = annotated(f"{self.name}|weights:{self.files.digest}|v:1", texts, self._positive)
        flags = np.zeros((len(texts), self.size), dtype=np.bool_)
        for line, positive in zip(flags, places, strict=True):
            line[positive] = True
        return flags

    def _positive(self, texts: list[str]) -> list[list[int]]:
        return [np.flatnonzero(line).tolist() for line in self._classifier(texts)]

    @cached_property
    def _classifier(self) -> Classifier:
        return Classifier(self.files.fetched(self.name), self.vocabulary(), self.size)


class Classifier:
    """A transformer with one logit per label; a label is given where its probability is above 1/2.

    Args:
        folder: of the model, in the Hugging Face layout.
        vocabulary: folder of a BERT's vocabulary; None: the tokenizer lies with the model.
        size: labels.

    Raises:
        CorruptFileError: the model has another number of labels.
    """

    def __init__(self, folder: Path, vocabulary: Path | None, size: int) -> None:
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertTokenizer

        with quiet_loading():
            model: Any = AutoModelForSequenceClassification.from_pretrained(
                folder, local_files_only=True, dtype=torch.float32
            )
            if vocabulary is not None:
                self.tokenizer: Any = BertTokenizer.from_pretrained(vocabulary)
            else:
                self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        if model.config.num_labels != size:
            raise CorruptFileError(
                f"{folder}: a classifier of {model.config.num_labels} labels, not {size}",
                "is it the right model?",
            )
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model.eval().to(self.device)

    def __call__(self, texts: Sequence[str]) -> Flags:
        """Labels (n, L); texts of like length share a batch."""
        import torch

        ids = self.tokenizer(list(texts), truncation=True, max_length=MAX_TOKENS)["input_ids"]
        flags = np.zeros((len(texts), self.model.config.num_labels), dtype=np.bool_)
        for places in token_batches([len(line) for line in ids]):
            lines, mask = padded([ids[place] for place in places], self.tokenizer.pad_token_id, self.device)
            with torch.inference_mode():
                logits = self.model(input_ids=lines, attention_mask=mask).logits
            flags[places] = (logits > 0).cpu().numpy()
        return flags


class RadbertCtF1(LabelSetF1):
    """F1 of the 18 findings that RadBERT-CT reads from reports of chest CT, and of "no finding".

    ``HARNESS_RADBERT_CT`` is the model's folder; otherwise it comes from the Hugging Face cache.
    """

    name: ClassVar[str] = "radbert_ct"
    outputs: tuple[MetricOutput, ...] = set_outputs("radbert_ct")
    files = ModelFolder("HARNESS_RADBERT_CT", "", "IAMJB/RadBERT-CT")
    size = 18

    @property
    def signature(self) -> str:
        """Identity of the numbers; ``weights`` is a digest of the model."""
        return f"{self.name}|labels:18+none|{NORM}|weights:{self.files.digest}|impl:radeval|v:1"

    def flags(self, texts: Sequence[str]) -> Flags:
        """18 findings and "no finding", which is there where none of them is: (n, 19)."""
        findings = self.classified(texts)
        return np.column_stack([findings, ~findings.any(axis=1)])


def _ratio(value: Floats, count: Floats) -> Floats:
    ratio: Floats = np.divide(value, count, out=np.zeros(np.shape(count)), where=np.asarray(count) > 0)
    return ratio
