"""Latents as they are diffused: decorrelated, where an autoencoder keeps whole-image components."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Whitening(nn.Module):
    """Latents to decorrelated ones and back, by the symmetric root, which moves them least."""

    matrix: Tensor
    inverse: Tensor

    def __init__(self, size: int, floor: float) -> None:
        super().__init__()
        self.floor = floor
        self.register_buffer("matrix", torch.eye(size))
        self.register_buffer("inverse", torch.eye(size))

    def fit(self, latents: Tensor) -> None:
        """Learn from standardised training latents (N, ...)."""
        flat = latents.flatten(1).double()
        values, axes = torch.linalg.eigh(flat.T @ flat / len(flat))
        root = (values.clamp(min=0.0) + self.floor * values.mean()).sqrt()
        self.matrix.copy_(axes / root @ axes.T)
        self.inverse.copy_(axes * root @ axes.T)

    def forward(self, latents: Tensor) -> Tensor:
        """Standardised latents (B, ...) to what is diffused."""
        return (latents.flatten(1) @ self.matrix).view_as(latents)

    def back(self, diffused: Tensor) -> Tensor:
        """What was generated (B, ...) to standardised latents."""
        return (diffused.flatten(1) @ self.inverse).view_as(diffused)
