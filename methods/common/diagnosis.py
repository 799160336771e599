"""What classifiers of studies share: label frequencies, the loss, probabilities. Batch B, labels L."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from harness.core.errors import HarnessError
from harness.core.types import Prediction, Study, Targets


def label_frequencies(studies: Sequence[Study], name: str) -> list[float]:
    """Share of the studies that have each label.

    Args:
        name: the method's registry name, for the error.

    Raises:
        HarnessError: no study has labels.
    """
    labels = [study.labels for study in studies if study.labels is not None]
    if not labels:
        raise HarnessError(f"{name}: no training study has labels", "choose another dataset")
    shares: list[float] = np.stack(labels).mean(axis=0, dtype=np.float64).tolist()
    return shares


def prior_logits(frequencies: Sequence[float], multilabel: bool) -> Tensor:
    """Logits (L,) whose probabilities are the frequencies: the answer for a study without any modality."""
    shares = torch.tensor(frequencies, dtype=torch.float32).clamp(1e-4, 1 - 1e-4)
    return torch.logit(shares) if multilabel else torch.log(shares)


def labels_of(targets: Targets, name: str) -> Tensor:
    """Labels (B, L).

    Raises:
        HarnessError: some study has none.
    """
    if targets.labels is None:
        raise HarnessError(f"{name}: studies without labels", "choose another dataset")
    return targets.labels


def classification_loss(logits: Tensor, labels: Tensor, multilabel: bool) -> Tensor:
    """Cross-entropy of exclusive classes, or the mean of the findings' binary cross-entropies; a scalar."""
    logits = logits.float()
    if multilabel:
        return F.binary_cross_entropy_with_logits(logits, labels)
    return F.cross_entropy(logits, labels.argmax(1))


def class_probabilities(logits: Tensor, multilabel: bool) -> list[Prediction]:
    """Probabilities of the classes, which sum to 1, or of each finding, for logits (B, L)."""
    logits = logits.double()
    probabilities = logits.sigmoid() if multilabel else logits.softmax(1)
    return [Prediction(probabilities=row) for row in probabilities.cpu().numpy()]


def relative_change(change: Tensor, logits: Tensor) -> float:
    """Size of a change of logits (B, L), relative to how these vary over studies: for vital signs.

    What changes all studies alike does not count, since it decides nothing between them.
    """
    return float((change - change.mean(0)).norm() / (logits - logits.mean(0)).norm().clamp(min=1e-12))
