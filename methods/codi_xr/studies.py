"""Training and validation studies with their latents and embeddings.

What earlier stages computed from a study does not change any more: it is computed once and looked up by the
study's id.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch
from torch import Tensor, nn

from harness.core.types import DatasetInfo, Study
from methods.codi_xr.config import MODALITIES, REPORT, VIEWS
from methods.codi_xr.diffusion import mixed
from methods.codi_xr.network import CoDiNetwork
from methods.codi_xr.subwords import Vocabularies
from methods.common.pixels import resized
from methods.common.text import Vocabulary

BATCH = 64


class Studies:
    """Training and validation studies with what finished stages computed from them.

    Attributes:
        present: bool (N, 3), which modalities a study has.
        latents: of each modality (N, ...).
        embeddings: unit vectors (N, 3, D).
    """

    def __init__(
        self, studies: Sequence[Study], network: CoDiNetwork, vocabularies: Vocabularies, info: DatasetInfo
    ) -> None:
        self.studies, self.network, self.vocabularies, self.info = studies, network, vocabularies, info
        self.rows = {study.id: row for row, study in enumerate(studies)}
        have = [[*(view in study.images for view in VIEWS), bool(study.report)] for study in studies]
        self.present = torch.tensor(have)
        self.latents: dict[str, Tensor] = {}
        self.components: dict[str, Tensor] = {}
        self.embeddings = torch.zeros(0)

    @property
    def device(self) -> torch.device:
        """Of the network."""
        return self.network.signal.device

    def pixels(self, rows: Sequence[int], view: str) -> Tensor:
        """Images (B, C, H, W) in [0, 1] at the model's size; zeros where a study lacks the view."""
        side, channels = self.info.image_size, self.info.channels
        blank = np.zeros((side, side, channels), dtype=np.uint8)
        stacked = np.stack([self.studies[row].images.get(view, blank) for row in rows])
        images = torch.from_numpy(stacked).to(self.device).permute(0, 3, 1, 2).float() / 255.0
        return resized(images, self.network.config.image_size)

    @torch.no_grad()
    def project(self, count: int) -> None:
        """Where the autoencoder reads principal components: learn them from the first ``count`` studies.

        Nothing trains what comes before them, so every image is projected once.
        """
        basis = self.network.image_autoencoder.basis
        if basis is None:
            return
        for number, view in enumerate(VIEWS):
            rows = self.having(view)
            training = [place for place, row in enumerate(rows) if row < count]
            if not training:
                continue
            parts = [self.pixels(rows[start : start + BATCH], view) for start in range(0, len(rows), BATCH)]
            images = torch.cat(parts) * 2.0 - 1.0
            basis.fit(number, images[training])
            components = basis(images, number)
            self.components[view] = components.new_zeros(len(self.studies), *components.shape[1:])
            self.components[view][rows] = components

    def count_words(self, count: int) -> None:
        """Let the report autoencoder learn from the first ``count`` studies how rare words are."""
        rows = [row for row in self.having(REPORT) if row < count]
        if rows:
            self.network.report_autoencoder.fit_rarity(self.written(rows))

    def readings(self, rows: Sequence[int], view: str) -> Tensor:
        """What the image autoencoder reads of one view (B, k, h, w)."""
        if view in self.components:
            return self.components[view][rows]
        return self.network.image_autoencoder.read(self.pixels(rows, view), VIEWS.index(view))

    def context(self, rows: Sequence[int]) -> Tensor:
        """Framed report indices (B, S) of the contrastive encoder."""
        return self._words(rows, self.vocabularies.context, self.network.config.text_words - 2)

    def read(self, rows: Sequence[int]) -> Tensor:
        """Framed report indices (B, S) of BERT."""
        return self._words(rows, self.vocabularies.read, self.network.config.report_words)

    def written(self, rows: Sequence[int]) -> Tensor:
        """Framed report indices (B, S) of GPT-2."""
        return self._words(rows, self.vocabularies.written, self.network.config.report_words)

    def _words(self, rows: Sequence[int], vocabulary: Vocabulary, limit: int) -> Tensor:
        texts = [self.studies[row].report or "" for row in rows]
        return vocabulary.batch(texts, limit, framed=True).to(self.device)

    def having(self, name: str, rows: Sequence[int] | None = None) -> list[int]:
        """Those of ``rows`` (all by default) whose studies have the modality."""
        column = self.present[:, MODALITIES.index(name)].tolist()
        return [row for row in (range(len(self.studies)) if rows is None else rows) if column[row]]

    @torch.no_grad()
    def encode(self, name: str) -> None:
        """Compute one modality's latents; absent ones are zeros."""
        shape = self.network.shapes[name]
        encoded = torch.zeros(len(self.studies), *shape)
        rows = self.having(name)
        for start in range(0, len(rows), BATCH):
            batch = rows[start : start + BATCH]
            if name == REPORT:
                autoencoder = self.network.report_autoencoder
                latents = autoencoder.encode(self.read(batch))
            else:
                readings = self.readings(batch, name)
                latents = self.network.image_autoencoder.compressed(readings, VIEWS.index(name))
            encoded[batch] = latents.float().cpu()
        self.latents[name] = encoded

    def calibrate(self, name: str, count: int) -> None:
        """Standardise a modality's latents by moments of the first ``count`` studies; encode again."""
        rows = [row for row in self.having(name) if row < count]
        if not rows:
            return
        latents = self.latents[name][rows].to(self.device)
        if name == REPORT:
            self.network.report_autoencoder.calibrate(latents)
        else:
            self.network.image_autoencoder.calibrate(VIEWS.index(name), latents)
        self.encode(name)

    def features(self, rows: Sequence[int]) -> dict[str, Tensor]:
        """Features (B, D) of all modalities; meaningless where one is absent."""
        network = self.network
        small = network.config.encoders == "latent"
        latents = {view: self.latents[view][rows].to(self.device) for view in VIEWS}
        # Small encoders read latents, the others images.
        images = latents if small else {view: self.pixels(rows, view) for view in VIEWS}
        return network.embed(images, latents, self.context(rows))

    @torch.no_grad()
    def embed(self) -> None:
        """Compute all embeddings."""
        parts = []
        for start in range(0, len(self.studies), BATCH):
            features = self.features(range(start, min(start + BATCH, len(self.studies))))
            stacked = torch.stack([features[name] for name in MODALITIES], dim=1).float()
            parts.append(nn.functional.normalize(stacked, dim=-1).cpu())
        self.embeddings = torch.cat(parts)

    @torch.no_grad()
    def diffuse(self, count: int) -> None:
        """Bring all latents to the space of diffusion, which the first ``count`` studies define."""
        for name in MODALITIES:
            rows = self.having(name)
            space = self.network.space(name)
            if space is not None and rows:
                training = self.latents[name][[row for row in rows if row < count]]
                space.fit(training.to(self.device))
            latents = self.latents[name].to(self.device)
            self.latents[name] = self.network.diffused(name, latents).cpu()
            if self.network.config.prior_mean:
                self._fit_mean(name, count)
        for first, second in combinations(MODALITIES, 2):
            self._fit_coupling(first, second, count)

    def _fit_coupling(self, first: str, second: str, count: int) -> None:
        """Covariance of two modalities' latents around what the third lets expect of them."""
        coupling = self.network.coupling(first, second)
        numbers = [MODALITIES.index(first), MODALITIES.index(second)]
        rows = self.present[:count, numbers].all(1).nonzero().flatten()
        if coupling is None or len(rows) < 2:
            return
        third = self.present[rows].clone()
        third[:, numbers] = False
        context = self.network.context(self.embeddings[rows].to(self.device), third.to(self.device))
        parts = (
            self.network.around(name, self.latents[name][rows].to(self.device), context, -1.0)
            for name in (first, second)
        )
        coupling.fit(*parts)

    def _fit_mean(self, name: str, count: int) -> None:
        """Regress one modality's latents on each other modality alone, and on both."""
        number = MODALITIES.index(name)
        contexts, latents = [], []
        for chosen in ([1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]):
            weights = torch.tensor(chosen) * torch.tensor(self.network.config.weights)
            weights[number] = 0.0
            complete = self.present[:count, number] & self.present[:count][:, weights > 0].all(1)
            if weights.any() and complete.any():
                rows = complete.nonzero().flatten()
                contexts.append(mixed(self.embeddings[rows], weights.expand(len(rows), -1)))
                latents.append(self.latents[name][rows])
        if contexts:
            mean = self.network.mean(name)
            mean.fit(torch.cat(contexts).to(self.device), torch.cat(latents).to(self.device))

    def batch(self, ids: Sequence[str]) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Latents of each modality, present (B, 3) and embeddings (B, 3, D) of studies."""
        rows = [self.rows[name] for name in ids]
        latents = {name: self.latents[name][rows].to(self.device) for name in MODALITIES}
        return latents, self.present[rows].to(self.device), self.embeddings[rows].to(self.device)
