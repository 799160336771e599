"""Losses of the disentanglement and of confidence (Eq. 7-12). Batch B, classes K, width d."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.common.layers import full_precision


def class_mass(labels: Tensor, multilabel: bool) -> Tensor:
    """Each study's unit mass over its classes (B, K): equal parts over several, zeros where it has none."""
    positive = (labels == 1).to(torch.float32)
    if not multilabel:
        return F.one_hot(labels.argmax(1), labels.shape[1]).to(torch.float32)
    return positive / positive.sum(1, keepdim=True).clamp(min=1.0)


def centred(x: Tensor) -> Tensor:
    """(..., d) less the mean of its d values, at unit length."""
    x = x.float()
    return F.normalize(x - x.mean(-1, keepdim=True), dim=-1)


def distances(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean distances (B, K) of rows of (B, d) and (K, d), centred and at unit length: in [0, 2].

    In float32 also under mixed precision: rounded to bfloat16, rows that are close would be equal, and the
    gradient 0.
    """
    with full_precision(x):
        return (2.0 - 2.0 * centred(x) @ centred(y).T).clamp(min=1e-8).sqrt()


def sinkhorn(
    cost: Tensor,
    source: Tensor,
    target: Tensor,
    epsilon: float,
    iterations: int,
    allowed: Tensor | None = None,
) -> Tensor:
    """Entropic optimal-transport plan (Cuturi 2013), computed on logarithms and differentiable.

    Args:
        cost: (B, K); source: masses (B,); target: masses (K,); both positive and of the same sum.
        epsilon: weight of the plan's entropy.
        allowed: bool (B, K), where mass may go; everywhere if None. Some plan must be possible.

    Returns:
        argmin over plans T with these marginals of <C, T> - epsilon H(T), (B, K).
    """
    kernel = -cost / epsilon
    if allowed is not None:
        kernel = kernel.masked_fill(~allowed, -torch.inf)
    rows, columns = source.log(), target.log()
    u, v = torch.zeros_like(rows), torch.zeros_like(columns)
    for _ in range(iterations):
        u = rows - torch.logsumexp(kernel + v, dim=1)
        v = columns - torch.logsumexp(kernel + u[:, None], dim=0)
    return (kernel + u[:, None] + v).exp()


def transport(
    shared: Tensor,
    priors: Tensor,
    mass: Tensor,
    epsilon: float,
    iterations: int,
    own_classes: bool = False,
) -> Tensor:
    """L_OT: cost of moving the batch's shared features to the semantic priors of its classes.

    Equal descriptions of several studies are one target with their summed mass: the plan is the same.

    Args:
        shared: (B, d); priors: (K, d), those of the classes that occur; mass: (B, K) from ``class_mass``.
        own_classes: a study's mass goes to its own classes; else the plan may send it to any in the batch.
    """
    weight = mass.sum(1)
    if not mass.is_meta:
        shared, weight, mass = shared[weight > 0], weight[weight > 0], mass[weight > 0]
    if not len(shared):
        return shared.sum() * 0.0
    cost = distances(shared, priors)
    source, target = weight / weight.sum(), mass.sum(0) / weight.sum()
    plan = sinkhorn(cost, source, target, epsilon, iterations, mass > 0 if own_classes else None)
    return (plan * cost).sum()  # Eq. (7)


def contrastive(shared: Tensor, priors: Tensor, mass: Tensor, temperature: float) -> Tensor:
    """Cross-entropy between a study's mass and softmax of its cosines with the priors: the ablation of OT."""
    with full_precision(shared):
        scores = centred(shared) @ centred(priors).T / temperature
    each = -(mass * scores.log_softmax(1)).sum(1)
    return each.sum() / mass.sum().clamp(min=1.0)


def orthogonality(shared: Tensor, specific: Tensor, present: Tensor) -> Tensor:
    """Mean squared cosine between shared and specific features (B, d) of the studies where ``present``."""
    cosine = F.cosine_similarity(shared.float(), specific.float(), dim=1, eps=1e-6)
    here = present.to(cosine.dtype)
    return (cosine.square() * here).sum() / here.sum().clamp(min=1.0)  # Eq. (8)


def classification(logits: Tensor, labels: Tensor, multilabel: bool) -> Tensor:
    """Cross-entropy of each study (B,): of exclusive classes, or the mean over independent findings."""
    logits = logits.float()
    if multilabel:
        truth = (labels == 1).to(logits.dtype)
        return F.binary_cross_entropy_with_logits(logits, truth, reduction="none").mean(1)
    return F.cross_entropy(logits, labels.argmax(1), reduction="none")


def true_class_probability(logits: Tensor, labels: Tensor, multilabel: bool) -> Tensor:
    """Probability given to what is true: (B, 1) of exclusive classes, (B, K) of independent findings."""
    if multilabel:
        truth = (labels == 1).to(torch.float32)
        probability = logits.float().sigmoid()
        return probability * truth + (1.0 - probability) * (1.0 - truth)  # Eq. (10), per finding
    return logits.float().softmax(1).gather(1, labels.argmax(1, keepdim=True))  # Eq. (10)


def confidence_error(
    estimate: Tensor, logits: Tensor, labels: Tensor, present: Tensor, multilabel: bool
) -> Tensor:
    """Squared error of a branch's estimate against its classifier's TCP, plus the latter's cross-entropy.

    Args:
        estimate: (B, 1) or (B, K) in [0, 1]; logits: of the branch's own classifier (B, K).
        present: bool (B,), studies that count.
    """
    truth = true_class_probability(logits, labels, multilabel).detach()
    each = (estimate.float() - truth).square().mean(1)  # Eq. (12)
    each = each + classification(logits, labels, multilabel)
    here = present.to(each.dtype)
    return (each * here).sum() / here.sum().clamp(min=1.0)
