"""Losses of the VL-MoE-VAE: ELBO, and the disentangled alignment constraint (Eq. 4-8)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.common.layers import full_precision, info_nce
from methods.dia.config import DiAConfig


@dataclass(frozen=True, slots=True)
class Bound:
    """The ELBO's terms of a batch, in nats; those of an absent modality are 0.

    Attributes:
        recon_v, recon_l: log-likelihoods of the views and of the context, (B,).
        kl_v, kl_l: KL(q(Z_v)) and KL(q(Z_l)) of each dimension, (B, D).
        jsd: of q(Z_s) and the prior in each dimension, (B, D).
        pixels, words: how many values each study's reconstructions have, (B,).
    """

    recon_v: Tensor
    recon_l: Tensor
    kl_v: Tensor
    kl_l: Tensor
    jsd: Tensor
    pixels: Tensor
    words: Tensor

    def elbo(self) -> Tensor:
        """ELBO in nats per study, (B,)."""
        reconstruction = self.recon_v + self.recon_l
        return reconstruction - (self.kl_v + self.kl_l).sum(1) - self.jsd.sum(1)  # Eq. (4), Eq. (8)

    def losses(self) -> dict[str, Tensor]:
        """Summands of L_ELBO's negative, each a mean over its elements: pixels, words, latent dimensions."""
        return {
            "recon_v": -self.recon_v.sum() / self.pixels.sum().clamp(min=1),
            "recon_l": -self.recon_l.sum() / self.words.sum().clamp(min=1),
            "kl_v": self.kl_v.mean(),
            "kl_l": self.kl_l.mean(),
            "jsd": self.jsd.mean(),
        }


def whitened(z: Tensor, rows: Tensor) -> Tensor:
    """Batch normalisation without affine part over the rows that count; the other rows become zero.

    Args:
        z: (B, D); rows: bool (B,).
    """
    weight = rows[:, None].to(z.dtype)
    count = weight.sum().clamp(min=1)
    centred = (z - (z * weight).sum(0) / count) * weight
    return centred * torch.rsqrt(centred.square().sum(0) / count + 1e-5)


def cross_correlations(shared: Tensor, vision: Tensor, language: Tensor, present: Tensor) -> Tensor:
    """Cross-correlations of Z_s and Z_v, Z_s and Z_l, Z_v and Z_l: (3, D, D).

    Args:
        shared, vision, language: latents (B, D).
        present: bool (B, 2); a pair counts the studies that have its modalities.
    """
    has_v, has_l = present.unbind(1)
    pairs = ((shared, vision, has_v), (shared, language, has_l), (vision, language, has_v & has_l))
    with full_precision(shared):
        return torch.stack(
            [
                whitened(first.float(), rows).T @ whitened(second.float(), rows) / rows.sum().clamp(min=1)
                for first, second, rows in pairs
            ]
        )


def orthogonality(correlations: Tensor) -> Tensor:
    """Cross-correlations (3, D, D) to L_orth, a scalar: each squared norm is divided by D."""
    return correlations.square().sum() / correlations.shape[-1]  # Eq. (5)


class RunningCorrelation(nn.Module):
    """Cross-correlations of many batches: those of one batch are mostly noise.

    Attributes:
        mean: exponential mean (3, D, D) of the batches' cross-correlations, not yet divided by ``weight``.
        weight: (3,), what the batches so far add up to; near 1 after many.
    """

    mean: Tensor
    weight: Tensor

    def __init__(self, latent: int, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.register_buffer("mean", torch.zeros(3, latent, latent))
        self.register_buffer("weight", torch.zeros(3))

    def forward(self, batch: Tensor, counts: Tensor) -> Tensor:
        """A batch's correlations (3, D, D) to the running ones, which have the batch's gradient.

        In eval mode the batch's own. ``counts`` (3,): studies of each pair; fewer than two are left out.
        """
        if not self.training:
            return batch
        with torch.no_grad():
            rates = self.rate * (counts > 1).to(batch.dtype)
            self.mean.lerp_(batch.detach(), rates[:, None, None])
            self.weight.lerp_(torch.ones_like(self.weight), rates)
            running = self.mean / self.weight.clamp(min=1e-6)[:, None, None]
        return running + (batch - batch.detach()) * (counts > 1)[:, None, None]


def alignment(shared: Tensor, vision: Tensor, language: Tensor, present: Tensor, config: DiAConfig) -> Tensor:
    """Contrastive alignment of Z_s with Z_v and Z_l, a scalar; arguments as in ``cross_correlations``."""
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
