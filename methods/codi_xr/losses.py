"""The losses of the five training runs, from the ids of a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from methods.codi_xr.config import MODALITIES, VIEWS
from methods.codi_xr.studies import Studies

Loss = Callable[[list[str]], dict[str, Tensor]]
"""Ids of a batch to its losses."""


class Losses:
    """The losses of the five training runs, over ``Studies``."""

    def __init__(self, studies: Studies, report_steps: int) -> None:
        self.studies, self.network = studies, studies.network
        self.config, self.report_steps = studies.network.config, max(1, report_steps)

    def image_autoencoder(self, ids: list[str]) -> dict[str, Tensor]:
        """Reconstruction and KL of the images that are there."""
        rows, model = [self.studies.rows[name] for name in ids], self.network.image_autoencoder
        rows_of = {view: self.studies.having(view, rows) for view in VIEWS}
        parts = [self.studies.readings(some, view) for view, some in rows_of.items() if some]
        if not parts:
            return {"loss": model.vae.quant_conv.weight.sum() * 0.0}
        error, kl = model.loss(torch.cat(parts))
        return {"loss": error + self.config.image_kl * kl, "error": error, "kl": kl}

    def report_autoencoder(self, ids: list[str]) -> dict[str, Tensor]:
        """Cross-entropy and KL, whose weight is 0 for half of the steps and then rises for a quarter."""
        rows, model = [self.studies.rows[name] for name in ids], self.network.report_autoencoder
        if model.training:
            model.trained += 1
        read, written = self.studies.read(rows), self.studies.written(rows)
        parts = model.loss(read, written, self.studies.present[rows, -1].to(read.device))
        terms = self.report_terms(parts)
        return {"loss": torch.stack(list(terms.values())).sum(), **parts}

    def report_terms(self, parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The summands of the report autoencoder's loss."""
        risen = (float(self.network.report_autoencoder.trained) / self.report_steps - 0.5) / 0.25
        weight = self.config.report_beta * min(1.0, max(0.0, risen))
        weights = {"ce": 1.0, "kl": weight, "bag": self.config.report_bag}
        return {name: weights[name] * parts[name] for name in weights}

    def image_terms(self, parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The summands of the image autoencoder's loss."""
        if "kl" not in parts:
            return {"loss": parts["loss"]}
        return {"error": parts["error"], "kl": self.config.image_kl * parts["kl"]}

    def alignment_terms(self, parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The summands of stage 3's loss."""
        return noise_terms(parts) | {"agreement": self.config.align * parts["agreement"]}

    def contrastive(self, ids: list[str]) -> dict[str, Tensor]:
        """InfoNCE over the pairs of modalities."""
        rows = [self.studies.rows[name] for name in ids]
        columns = self.studies.present[rows].to(self.studies.device).unbind(1)
        present: Mapping[str, Tensor] = dict(zip(MODALITIES, columns, strict=True))
        return {"loss": self.network.contrastive.loss(self.studies.features(rows), dict(present))}

    def diffusion(self, ids: list[str]) -> dict[str, Tensor]:
        """Stage 2."""
        return self.network.diffusion_loss(*self.studies.batch(ids))

    def alignment(self, ids: list[str]) -> dict[str, Tensor]:
        """Stage 3."""
        return self.network.alignment_loss(*self.studies.batch(ids))


def noise_terms(parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The summands of stage 2's loss: the errors of the modalities."""
    return {name: parts[name] for name in MODALITIES}


def whole_loss(parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The only summand of a loss that is not a sum."""
    return {"loss": parts["loss"]}
