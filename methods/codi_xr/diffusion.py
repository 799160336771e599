"""Noise schedule, guidance and samplers; the formulas are the diffusers library's."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from torch import Tensor

TRAINING_STEPS = 1000
SCHEDULE: dict[str, Any] = {
    "num_train_timesteps": TRAINING_STEPS,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
}
"""Of Stable Diffusion 1.5."""

Denoise = Callable[[Mapping[str, Tensor], int], Mapping[str, Tensor]]
"""Noisy latents of each modality and the time step to the noise in each of them."""


def scheduler(sampler: str, steps: int) -> DDIMScheduler | DPMSolverMultistepScheduler:
    """A sampler with its time steps set: ``ddim`` (Song et al. 2021) or ``dpm-solver++`` (Lu et al. 2022)."""
    solver: DDIMScheduler | DPMSolverMultistepScheduler
    if sampler == "ddim":
        solver = DDIMScheduler(**SCHEDULE, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    else:
        solver = DPMSolverMultistepScheduler(
            **SCHEDULE, algorithm_type="dpmsolver++", solver_order=2, timestep_spacing="trailing"
        )
    solver.set_timesteps(steps)
    return solver


def alphas() -> Tensor:
    """Cumulative products of 1 - beta, (1000,)."""
    return scheduler("ddim", 1).alphas_cumprod


def noised(latents: Tensor, noise: Tensor, signal: Tensor) -> Tensor:
    """sqrt(a) z + sqrt(1 - a) e with a, ``signal``, (B,)."""
    signal = signal.view(-1, *[1] * (latents.dim() - 1))
    return signal.sqrt() * latents + (1.0 - signal).sqrt() * noise


def guided(conditional: Tensor, unconditional: Tensor, weight: float) -> Tensor:
    """e_0 + w (e_c - e_0) (Ho & Salimans 2021): w = 1 is the condition alone, w = 0 none of it."""
    return unconditional + weight * (conditional - unconditional)


def sample(start: Mapping[str, Tensor], denoise: Denoise, sampler: str, steps: int) -> dict[str, Tensor]:
    """Latents of one or more modalities, step by step side by side, from noise of the same shapes."""
    solvers: dict[str, Any] = {name: scheduler(sampler, steps) for name in start}
    latents = {name: noise * solvers[name].init_noise_sigma for name, noise in start.items()}
    for time in next(iter(solvers.values())).timesteps.tolist() if solvers else ():
        noises = denoise(latents, time)
        latents = {
            name: solvers[name].step(noises[name].float(), time, latents[name]).prev_sample
            for name in latents
        }
    return latents


def seeded_noise(seeds: Sequence[int], name: str, shape: tuple[int, ...]) -> Tensor:
    """Standard normal (B, *shape); a row follows from its study's seed and the modality's name alone."""
    rows = []
    for seed in seeds:
        digest = hashlib.blake2b(f"{seed}\0{name}".encode(), digest_size=8).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)
        rows.append(torch.randn(shape, generator=generator))
    return torch.stack(rows)


def token(features: Tensor) -> Tensor:
    """Unit vectors (..., D) scaled by sqrt(D), so that what layers read has values of about 1."""
    return F.normalize(features.float(), dim=-1) * math.sqrt(features.shape[-1])


def mixed(embeddings: Tensor, weights: Tensor) -> Tensor:
    """Several conditions as one: the weighted mean (B, M) of unit embeddings (B, M, D), as tokens (B, D).

    A row without any weight gives zeros.
    """
    mean = (F.normalize(embeddings.float(), dim=-1) * weights[..., None]).sum(1)
    return token(mean) * weights.gt(0).any(1, keepdim=True)
