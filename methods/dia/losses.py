"""Losses of the VL-MoE-VAE: ELBO, and the disentangled alignment constraint (Eq. 4-8)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.common.layers import info_nce
from methods.dia.config import DiAConfig


def elbo(terms: dict[str, Tensor]) -> Tensor:
    """ELBO in nats per study (B,) from the terms of ``DiANetwork.bound``."""
    reconstruction = terms["recon_v"] + terms["recon_l"]
    return reconstruction - (terms["kl_v"] + terms["kl_l"]) - terms["jsd"]  # Eq. (4), Eq. (8)


def whitened(z: Tensor, rows: Tensor) -> Tensor:
    """Batch normalisation without affine part over the rows that count; the other rows become zero.

    Args:
        z: (B, D); rows: bool (B,).
    """
    weight = rows[:, None].to(z.dtype)
    count = weight.sum().clamp(min=1)
    centred = (z - (z * weight).sum(0) / count) * weight
    return centred * torch.rsqrt(centred.square().sum(0) / count + 1e-5)


def orthogonality(shared: Tensor, vision: Tensor, language: Tensor, present: Tensor) -> Tensor:
    """Sum over pairs of the mean squared cross-correlation, a scalar.

    Args:
        shared, vision, language: latents (B, D).
        present: bool (B, 2); a pair counts the studies that have its modalities.
    """
    has_v, has_l = present.unbind(1)
    pairs = ((shared, vision, has_v), (shared, language, has_l), (vision, language, has_v & has_l))
    total = shared.new_zeros(())
    for first, second, rows in pairs:
        count = rows.sum().clamp(min=1)
        cross = whitened(first, rows).T @ whitened(second, rows) / count
        total = total + cross.square().mean()  # Eq. (5), each norm divided by its D² entries
    return total


def alignment(shared: Tensor, vision: Tensor, language: Tensor, present: Tensor, config: DiAConfig) -> Tensor:
    """Contrastive alignment of Z_s with Z_v and Z_l, a scalar; arguments as in ``orthogonality``."""
    if config.negatives == "pair":
        sims = [
            F.cosine_similarity(shared, other, dim=-1) / config.temperature for other in (vision, language)
        ]
        both = present.all(1).to(shared.dtype)
        each = -torch.stack(sims, dim=-1).log_softmax(-1).sum(-1)  # Eq. (6)
        return (each * both).sum() / both.sum().clamp(min=1)
    total = shared.new_zeros(())
    for other, rows in zip((vision, language), present.unbind(1), strict=True):
        total = total + info_nce(shared, other, config.temperature, rows)  # Eq. (6) as in Prop. 2
    return total
