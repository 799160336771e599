"""Numbers that show whether the parts of CoDi XR act, each on validation studies in eval mode.

Where a part is to carry what belongs to a study, the same is measured with another study's in its place: a
part that costs nothing to confuse does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from harness.method.probes import Probe
from methods.codi_xr.config import MODALITIES, REPORT, VIEWS
from methods.codi_xr.diffusion import TRAINING_STEPS, noised
from methods.codi_xr.studies import Studies
from methods.common.layers import gaussian_kl

FEWEST = 2
"""Studies below which a probe is not measured."""


class Probes:
    """The probes of the five training runs, over ``Studies``; each takes the ids of some of them."""

    def __init__(self, studies: Studies) -> None:
        self.studies, self.network, self.config = studies, studies.network, studies.network.config

    def image_autoencoder(self, ids: Sequence[str]) -> list[Probe]:
        """What latents keep of each view."""
        model, probes = self.network.image_autoencoder, []
        for view in VIEWS:
            rows = self._rows(ids, view)
            if len(rows) < FEWEST:
                continue
            x = self.studies.readings(rows, view)
            restored = model.vae.decode(model.vae.encode(x).latent_dist.mode()).sample
            error = float((restored - x).square().mean() / (x - x.mean(0)).square().mean().clamp(min=1e-9))
            probes.append(Probe(f"{view} autoencoder", "share of variance restored", 1.0 - error, 0.0, 1.0))
        return probes

    def report_autoencoder(self, ids: Sequence[str]) -> list[Probe]:
        """Whether z holds something, and whether GPT-2 reads it."""
        rows, model = self._rows(ids, REPORT), self.network.report_autoencoder
        if len(rows) < FEWEST:
            return []
        mean, log_variance = model.posterior(self.studies.read(rows))
        words = self.studies.written(rows)
        free = self.config.report_target * self.config.report_latent
        kl = float(gaussian_kl(mean, log_variance).sum(1).mean())
        part, cost = "report autoencoder", "that another report's z costs"
        probes = [
            Probe(part, "posterior KL, nats per report", kl, 0.0, max(free, 1.0)),
            Probe(part, f"nats per word {cost}", self._confused(model.word_loss, mean, words), 0.0, 0.5),
        ]
        if self.config.report_bag:
            confused = self._confused(model.bag_loss, mean, words[:, 1:])
            probes.append(Probe("bag of words", f"nats per word {cost}", confused, 0.0, 1.0))
        return probes

    def contrastive(self, ids: Sequence[str]) -> list[Probe]:
        """How much nearer a study's own modalities are than those of other studies."""
        rows = [row for row in self._rows(ids) if self.studies.present[row].all()]
        if len(rows) < FEWEST:
            return []
        features = self.studies.features(rows)
        pairs = (("frontal", "lateral"), ("frontal", REPORT), ("lateral", REPORT))
        return [
            Probe(
                f"{one}-{two} space", "margin of the cosine", _margin(features[one], features[two]), 0.0, 0.3
            )
            for one, two in pairs
        ]

    def diffusion(self, ids: Sequence[str]) -> list[Probe]:
        """Whether denoisers beat what needs no learning, and whether they hear their condition."""
        probes = []
        for number, name in enumerate(MODALITIES):
            rows = self._rows(ids, name)
            if len(rows) < FEWEST:
                continue
            latents, context = self._conditioned(rows, number)
            if self.config.prior_mean:
                rest = self.network.around(name, latents, context, -1.0)
                explained = 1.0 - float(rest.square().mean() / latents.square().mean().clamp(min=1e-9))
                probes.append(
                    Probe(f"{name} expectation", "share of variance explained", explained, 0.0, 0.1)
                )
                latents = rest
            noise, time = self._noise(latents)
            noisy = noised(latents, noise, self.network.signal[time])
            own, other = (
                float(F.mse_loss(self.network.noise_in(name, noisy, time, each, None).float(), noise))
                for each in (context, context.roll(1, 0))
            )
            signal = self.network.signal[time].view(-1, *[1] * (noisy.dim() - 1))
            untrained = float(F.mse_loss((1.0 - signal).sqrt() * noisy, noise))
            gain, share = 1.0 - own / untrained, other / own - 1.0
            probes += [
                Probe(f"{name} denoiser", "share of the Gaussian guess's error removed", gain, 0.0, 0.1),
                Probe(f"{name} denoiser", "share that another condition costs", share, 0.0, 0.02),
            ]
        return probes

    def alignment(self, ids: Sequence[str]) -> list[Probe]:
        """Whether environments agree within a study, and whether a branch uses what the other one tells.

        Means over the pairs of modalities that are generated from the third. ``joint branches`` counts all
        that the other branch tells, ``connectors`` only what was learned.
        """
        rows = [row for row in self._rows(ids) if self.studies.present[row].all()]
        if len(rows) < FEWEST:
            return []
        pairs = [self._pair(rows, source) for source in range(len(MODALITIES))]
        margin, connectors, branches = (float(np.mean(values)) for values in zip(*pairs, strict=True))
        probes = [
            Probe("environment encoders", "margin of the cosine of two tokens", margin, 0.0, 0.1),
            Probe("connectors", "share that another token costs", connectors, 0.0, 0.005),
        ]
        if self.config.gaussian_joint:
            probes.append(Probe("joint branches", "share that another branch costs", branches, 0.0, 0.02))
        return probes

    def _pair(self, rows: Sequence[int], source: int) -> tuple[float, float, float]:
        """Of the two that are not the source: margin, and what confused tokens and branches cost."""
        network, context = self.network, self._context(rows, [source])
        pair = [name for number, name in enumerate(MODALITIES) if number != source]
        clean = {name: network.around(name, self._latents(rows, name), context, -1.0) for name in pair}
        noise = {name: self._noise(x)[0] for name, x in clean.items()}
        time = self._noise(context)[1]
        noisy = {name: noised(x, noise[name], network.signal[time]) for name, x in clean.items()}
        there = dict.fromkeys(pair, torch.ones(len(rows), dtype=torch.bool, device=time.device))
        tokens = network.tokens(noisy, time, there)
        costs = []
        for name, partner in (pair, pair[::-1]):
            elsewhere = {name: noisy[name], partner: noisy[partner].roll(1, 0)}
            errors = [
                float(
                    F.mse_loss(
                        network.noise_in(name, noisy[name], time, context, token[:, None]).float()
                        + network.coupled(heard, time, there)[name],
                        noise[name],
                    )
                )
                for token, heard in (
                    (tokens[partner], noisy),
                    (tokens[partner].roll(1, 0), noisy),
                    (tokens[partner].roll(1, 0), elsewhere),
                )
            ]
            costs.append((errors[1] / errors[0] - 1.0, errors[2] / errors[0] - 1.0))
        connectors, branches = np.mean(costs, axis=0)
        return _margin(*(tokens[name] for name in pair)), float(connectors), float(branches)

    def _rows(self, ids: Sequence[str], name: str | None = None) -> list[int]:
        rows = [self.studies.rows[each] for each in ids]
        return rows if name is None else self.studies.having(name, rows)

    def _latents(self, rows: Sequence[int], name: str) -> Tensor:
        return self.studies.latents[name][list(rows)].to(self.studies.device)

    def _context(self, rows: Sequence[int], numbers: Sequence[int]) -> Tensor:
        """The condition (B, D) of those of some modalities that each study has."""
        chosen = torch.zeros(len(rows), len(MODALITIES), dtype=torch.bool)
        chosen[:, list(numbers)] = True
        chosen &= self.studies.present[list(rows)]
        embeddings = self.studies.embeddings[list(rows)].to(self.studies.device)
        return self.network.context(embeddings, chosen.to(self.studies.device))

    def _conditioned(self, rows: Sequence[int], target: int) -> tuple[Tensor, Tensor]:
        """Latents of one modality, and the condition of all others."""
        others = [number for number in range(len(MODALITIES)) if number != target]
        return self._latents(rows, MODALITIES[target]), self._context(rows, others)

    def _noise(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Noise (B, ...) and steps (B,) spread over the schedule, the same at every measurement."""
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(like.shape, generator=generator).to(like.device)
        time = torch.linspace(0, TRAINING_STEPS - 1, len(like)).round().long()
        return noise, time[torch.randperm(len(like), generator=generator)].to(like.device)

    @staticmethod
    def _confused(loss: Callable[[Tensor, Tensor], Tensor], z: Tensor, words: Tensor) -> float:
        """How much more a loss of latents (B, D) and words (B, S) is with other rows' latents."""
        return float(loss(z.roll(1, 0), words) - loss(z, words))


def _margin(one: Tensor, two: Tensor) -> float:
    """Mean cosine of the rows of (B, D) and (B, D) with their partners, minus that with all other rows."""
    cosines = F.normalize(one.float(), dim=-1) @ F.normalize(two.float(), dim=-1).T
    own, count = cosines.diagonal().mean(), len(cosines)
    return float(own - (cosines.sum() - cosines.diagonal().sum()) / (count * (count - 1)))
