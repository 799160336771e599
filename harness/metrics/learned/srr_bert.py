"""F1 of the findings that SRR-BERT reads from each sentence of both texts (Delbrouck et al. 2025)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from harness.core.weights import downloads_allowed
from harness.metrics.base import MetricOutput
from harness.metrics.learned.label_sets import Flags, LabelSetF1, set_outputs
from harness.metrics.learned.model_folder import ModelFolder
from harness.metrics.learned.sentences import sentences_of
from harness.metrics.pretrained import hub_file
from harness.metrics.text.characters import NORM

FOLDER = "HARNESS_SRR_BERT"
VOCABULARY = "microsoft/BiomedVLP-CXR-BERT-general"
"""Repository whose vocabulary the models read, for those whose folder has none."""


class _SrrBert(LabelSetF1):
    """What the variants share: a report has every finding of its sentences."""

    region: ClassVar[str | None] = "chest"

    @property
    def signature(self) -> str:
        """Identity of the numbers; ``weights`` is a digest of the model."""
        return f"{self.name}|split:harness|{NORM}|weights:{self.files.digest}|impl:radeval|v:1"

    def unavailable(self) -> str | None:
        """One line if a package, the model or its vocabulary is absent."""
        if (reason := super().unavailable()) is not None:
            return reason
        if downloads_allowed() or self.vocabulary() is not None:
            return None
        return f"no vocab.txt ({self.name}): put that of {VOCABULARY} into the folder of {FOLDER}"

    def flags(self, texts: Sequence[str]) -> Flags:
        """Findings of each text, (n, L)."""
        split = [sentences_of(text) for text in texts]
        every = list(dict.fromkeys(sentence for sentences in split for sentence in sentences))
        of = dict(zip(every, self.classified(every), strict=True))
        flags = np.zeros((len(texts), self.size), dtype=np.bool_)
        for line, sentences in zip(flags, split, strict=True):
            for sentence in sentences:
                line |= of[sentence]
        return flags

    def vocabulary(self) -> Path | None:
        """With the model, in the user's folder, or in the hub's cache."""
        model, named = self.files.path(), os.environ.get(FOLDER)
        for folder in (model, Path(named) if named else None):
            if folder is not None and (folder / "vocab.txt").is_file():
                return folder
        file = hub_file(VOCABULARY, "vocab.txt", downloads_allowed() and named is None)
        return file.parent if file else None


class SrrBertLeaves(_SrrBert):
    """F1 of 55 findings.

    ``HARNESS_SRR_BERT`` is a folder with the models ``leaves``, ``leaves_with_statuses`` and ``upper``, each
    in the Hugging Face layout; otherwise they come from the Hugging Face cache.
    """

    name: ClassVar[str] = "srr_bert_leaves"
    outputs: tuple[MetricOutput, ...] = set_outputs("srr_bert_leaves")
    files = ModelFolder(FOLDER, "leaves", "StanfordAIMI/SRR-BERT-Leaves")
    size = 55


class SrrBertStatuses(_SrrBert):
    """F1 of 54 findings, each present, uncertain or absent, and of "no finding"."""

    name: ClassVar[str] = "srr_bert_statuses"
    outputs: tuple[MetricOutput, ...] = set_outputs("srr_bert_statuses")
    files = ModelFolder(FOLDER, "leaves_with_statuses", "StanfordAIMI/SRR-BERT-Leaves-with-Statuses")
    size = 163


class SrrBertUpper(_SrrBert):
    """F1 of 25 groups of findings."""

    name: ClassVar[str] = "srr_bert_upper"
    outputs: tuple[MetricOutput, ...] = set_outputs("srr_bert_upper")
    files = ModelFolder(FOLDER, "upper", "StanfordAIMI/SRR-BERT-Upper")
    size = 25
