"""ShaSpec's auxiliary losses, and the subsets of modalities that training draws."""

from __future__ import annotations

from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor


def alignment(shared: Tensor, present: Tensor) -> Tensor:
    """Distribution alignment: L1 distance of the shared features (B, N, W) of a study's modalities.

    Mean over values and over all pairs of modalities that a study has; 0 where no study has two.
    """
    total, count = shared.new_zeros((), dtype=torch.float32), shared.new_zeros((), dtype=torch.float32)
    for one, other in combinations(range(shared.shape[1]), 2):
        both = (present[:, one] & present[:, other]).float()
        distance = (shared[:, one].float() - shared[:, other].float()).abs().mean(1)
        total, count = total + (distance * both).sum(), count + both.sum()
    return total / count.clamp(min=1.0)


def domain_loss(logits: Tensor, present: Tensor) -> Tensor:
    """Domain classification: cross-entropy of logits (B, N, N) with the number of the modality.

    Mean over the modalities that the studies have; 0 where there is none. Chance is log N.
    """
    views = logits.shape[1]
    truth = torch.arange(views, device=logits.device).expand(len(logits), views)
    each = F.cross_entropy(logits.float().flatten(0, 1), truth.flatten(), reduction="none")
    weights = present.flatten().float()
    return (each * weights).sum() / weights.sum().clamp(min=1.0)


def random_subsets(present: Tensor, probability: float) -> Tensor:
    """Bool (B, N) in which studies keep a random subset of their modalities with ``probability``.

    The size of the subset is drawn evenly from one to all that the study has; a study without any keeps none.
    """
    if not probability:
        return present
    count = present.sum(1, keepdim=True)
    size = 1 + (torch.rand(count.shape, device=present.device) * count).long()
    order = torch.rand(present.shape, device=present.device).masked_fill(~present, 2.0)
    rank = order.argsort(1).argsort(1)
    drawn = torch.rand(count.shape, device=present.device) < probability
    return torch.where(drawn, present & (rank < size), present)
