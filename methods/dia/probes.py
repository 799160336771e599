"""DiA's probes: whether the VAE's posteriors, the DA constraint and the latents in the memory act."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from harness.method.probes import Probe
from methods.common.layers import info_nce
from methods.dia.config import DiAConfig
from methods.dia.losses import cross_correlations, orthogonality
from methods.dia.network import Encoded

ACTIVE = 0.01
"""A latent dimension is active where the variance of its mean over studies is larger (Burda et al. 2016)."""

HIDING = 0.02
"""Nats per word that hiding the latents costs where they act: about one in a hundred of a report's."""


def latent_probes(code: Encoded, config: DiAConfig) -> list[Probe]:
    """Probes of a batch in eval mode; those of pairs are measured on studies with views and context."""
    assert code.posteriors is not None
    assert code.latents is not None
    posterior_v, posterior_l, posterior_s = code.posteriors
    has_v, has_l = code.present.unbind(1)
    probes = []
    for name, posterior, rows in (("Z_v", posterior_v, has_v), ("Z_l", posterior_l, has_l)):
        if bool(rows.any()):
            nats = float(posterior.kl()[rows].sum(1).mean())
            probes.append(Probe("VAE", f"posterior KL of {name}, nats per study", nats, dead=0.0, alive=1.0))
    for name, latent, rows in zip(("Z_v", "Z_l", "Z_s"), code.latents, (has_v, has_l, has_v), strict=True):
        if int(rows.sum()) > 1:
            share = float((latent[rows].var(0) > ACTIVE).float().mean())
            probes.append(Probe("VAE", f"active dimensions of {name}, share", share, dead=0.0, alive=1.0))
    both = code.present.all(1)
    if int(both.sum()) > 2:
        weight = float(posterior_s.weights[both, 1].mean())
        probes.append(Probe("experts", "weight of the language expert", weight, dead=0.0, alive=0.5))
        z_v, z_l, z_s = (latent[both] for latent in code.latents)
        probes += _pair_probes((z_v, z_l, z_s), config)
    return probes


def _pair_probes(latents: tuple[Tensor, Tensor, Tensor], config: DiAConfig) -> list[Probe]:
    """L_orth and L_align beside what they are with the latents of other studies: their noise floors."""
    z_v, z_l, z_s = latents
    size = z_s.shape[-1]
    present = torch.ones(len(z_s), 2, dtype=torch.bool, device=z_s.device)

    def orth(vision: Tensor, language: Tensor) -> float:
        return float(orthogonality(cross_correlations(z_s, vision, language, present)) / size)

    floor = orth(z_v.roll(1, 0), z_l.roll(2, 0))
    copies = floor + 3 / size  # latents that are copies of each other are correlated on the diagonal
    label = "squared cross-correlation, mean over entries, three pairs"
    probes = [Probe("orthogonality", label, orth(z_v, z_l), dead=copies, alive=floor)]
    for name, other in (("Z_v", z_v), ("Z_l", z_l)):
        value, noise = (float(info_nce(z_s, x, config.temperature)) for x in (other, other.roll(1, 0)))
        label = f"InfoNCE of Z_s and {name}, nats; dead: other studies' {name}"
        probes.append(Probe("alignment", label, value, dead=noise, alive=0.0))
    return probes


def hiding_probes(costs: Mapping[str, float]) -> list[Probe]:
    """Probes from what hiding the latents costs, nats per word, by the context's state."""
    return [
        Probe("latents", f"cost of hiding them, nats per word, context {state}", cost, dead=0.0, alive=HIDING)
        for state, cost in costs.items()
    ]
