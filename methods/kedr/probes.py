"""Vital signs of KEDR's parts: priors and shared branch (KED), confidence and fusion (CAD)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from harness.method.probes import Probe
from methods.kedr.knowledge import Knowledge, mean_cosine
from methods.kedr.losses import centred, class_mass, true_class_probability
from methods.kedr.network import KEDRNetwork, Reading


def knowledge_probes(
    knowledge: Knowledge, reading: Reading, labels: Tensor, multilabel: bool
) -> Iterator[Probe]:
    """Whether the priors are apart, and whether shared features of a class are at its prior (Eq. 5-7)."""
    priors = centred(knowledge(torch.arange(knowledge.count, device=labels.device)))
    if len(priors) < 2:
        return
    own = knowledge.own_cosine()
    yield Probe("KED", "mean cosine of two classes' priors", mean_cosine(priors), 1.0, own)
    cosines = centred(reading.features[-1]) @ priors.T
    yield Probe(
        "KED",
        "cosine of shared features with a class's prior: studies of the class minus the others, class mean",
        _margin(cosines, class_mass(labels, multilabel) > 0),
        0.0,
        1.0 - own,
    )
    single = (labels == 1).sum(1) == 1
    hits = labels.gather(1, cosines.argmax(1, keepdim=True))[single, 0] == 1
    share = float(hits.float().mean()) if len(hits) else float("nan")
    chance = 1.0 / len(priors)
    yield Probe("KED", "studies of one class whose nearest prior is its own, share", share, chance, 1.0)


def _margin(cosines: Tensor, own: Tensor) -> float:
    """Mean over classes that some studies have and others lack; NaN where there is no such class."""
    margins = [
        column[has].mean() - column[~has].mean()
        for column, has in zip(cosines.T, own.T, strict=True)
        if 0 < int(has.sum()) < len(has)
    ]
    return float(torch.stack(margins).mean()) if margins else float("nan")


def _varying(x: Tensor) -> Tensor:
    """(B, K) less its mean over studies: a change that is the same for all studies decides nothing."""
    return x - x.mean(0)


def confidence_probe(network: KEDRNetwork, reading: Reading, labels: Tensor, multilabel: bool) -> Probe:
    """Whether a branch's confidence follows its true-class probability from study to study (Eq. 10-12)."""
    correlations = []
    for number, head in enumerate(network.classifiers or ()):
        here = reading.here[number]
        if not bool(here.any()):  # a modality that the dataset lacks
            continue
        truth = true_class_probability(head(reading.features[number]), labels, multilabel).mean(1)
        estimate = reading.confidence[number].mean(1)
        correlations.append(torch.corrcoef(torch.stack([estimate[here], truth[here]]))[0, 1])
    mean = float(torch.stack(correlations).mean()) if correlations else float("nan")
    return Probe("CAD confidence", "correlation with the true-class probability, branch mean", mean, 0.0, 1.0)


def fusion_probes(network: KEDRNetwork, reading: Reading, names: list[str]) -> Iterator[Probe]:
    """Whether the fixed point is found (Eq. 13-15), and whether each branch has a part in the decision."""
    weighted = network.weighted(reading.features, reading.confidence)
    for number, name in enumerate(names):
        if not bool(reading.here[number].any()):
            continue
        without = [torch.zeros_like(f) if m == number else f for m, f in enumerate(weighted)]
        change = network.classifier(network.fusion(without)[0]) - reading.logits
        share = float(_varying(change).norm() / _varying(reading.logits).norm().clamp(min=1e-12))
        what = f"change of the logits without the branch {name}, relative to how they vary over studies"
        yield Probe("CAD fusion", what, share, 0.0, 1.0 / len(names))
    if reading.solution is not None:
        worst = float(reading.solution.residual.max().clamp(min=1e-12).log10())
        yield Probe(
            "CAD fusion", "relative residual of the fixed point, worst study, log10", worst, 0.0, -6.0
        )
