"""The load-balancing loss of the experts."""

from __future__ import annotations

from torch import Tensor


def balancing(scores: Tensor) -> Tensor:
    """L_b (Eq. 6) of gate scores (N, experts): the negative entropy of their mean, -log(experts) at best."""
    mean = scores.mean(0)
    return (mean * mean.clamp(min=1e-8).log()).sum()
