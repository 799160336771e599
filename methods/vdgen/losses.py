"""Vision Self-Equilibration (VSE) and Disease Information Distillation (DID), losses with own layers."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from methods.common.layers import info_nce


class VisionSelfEquilibration(nn.Module):
    """VSE: pulls the views of one image together and pushes the images of a batch apart (Sec. 3.2)."""

    def __init__(self, width: int, mapped: int, temperature: float) -> None:
        super().__init__()
        self.map = nn.Linear(width, mapped)  # W_1^v, B
        self.temperature = temperature

    def forward(self, first: Tensor, second: Tensor, rows: Tensor) -> Tensor:
        """L_VSE of h (B, D) and of the second views' h (B, D) over the studies bool (B,): a scalar."""
        return info_nce(self.map(first), self.map(second), self.temperature, rows)  # Eq. (3)


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
