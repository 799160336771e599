"""Vision Self-Equilibration (VSE) and Disease Information Distillation (DID), losses with own layers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.common.layers import info_nce


class VisionSelfEquilibration(nn.Module):
    """VSE: an image is similar to itself and pushed away from the other images of the batch (Sec. 3.2)."""

    def __init__(self, width: int, mapped: int, temperature: float) -> None:
        super().__init__()
        self.map = nn.Linear(width, mapped)  # W_1^v, B
        self.temperature = temperature

    def forward(self, first: Tensor, second: Tensor | None, rows: Tensor) -> Tensor:
        """L_VSE of h (B, D) over the studies bool (B,): a scalar, 0 for fewer than two studies.

        With ``second``, the h (B, D) of second views, S_ij compares image i with the second view of image j.
        """
        if second is not None:
            return info_nce(self.map(first), self.map(second), self.temperature, rows)  # Eq. (3)
        similarity = self.similarity(first)
        itself = torch.eye(len(first), dtype=torch.bool, device=first.device)
        others = similarity.masked_fill(itself | ~rows, float("-inf"))
        several = rows & (rows.sum() > 1)
        others = others.masked_fill(~several[:, None], 0.0)  # no row of -inf alone: its gradient is NaN
        each = torch.logsumexp(others, dim=1) - similarity.diagonal()  # Eq. (3), S_ii = -inf in the sum
        weights = several.to(each.dtype)
        return (each * weights).sum() / weights.sum().clamp(min=1.0)

    def similarity(self, h: Tensor) -> Tensor:
        """S (B, B) of h (B, D): cosines of z^v, divided by tau."""
        z = F.normalize(self.map(h).float(), dim=-1)
        return z @ z.T / self.temperature


class DiseaseInformationDistillation(nn.Module):
    """DID: image and report of a study find each other in the batch (Sec. 3.3)."""

    def __init__(self, text_width: int, width: int, temperature: float) -> None:
        super().__init__()
        self.map = nn.Linear(text_width, width)  # W_2, B_2
        self.temperature = temperature

    def aligned(self, image: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """h (B, D) and report vectors (B, D_t) to z^img and z^text (B, D) of unit length."""
        z_image = F.normalize(image.float(), dim=-1)  # Eq. (4)
        z_text = F.normalize(self.map(text).float(), dim=-1)  # Eq. (5)
        return z_image, z_text

    def forward(self, image: Tensor, text: Tensor, rows: Tensor) -> Tensor:
        """L_DID of h (B, D) and report vectors (B, D_t) over the studies bool (B,): a scalar."""
        z_image, z_text = self.aligned(image, text)
        v2t = info_nce(z_image, z_text, self.temperature, rows)  # Eq. (6)
        t2v = info_nce(z_text, z_image, self.temperature, rows)  # Eq. (6)
        return 0.5 * (v2t + t2v)
