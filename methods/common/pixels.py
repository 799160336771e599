"""Pixels on their way into a network: resizing, ImageNet's scale."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def resized(images: Tensor, size: int) -> Tensor:
    """Images (B, N, C, H, W), or (B, C, H, W), to the same with ``size`` x ``size`` pixels, antialiased."""
    if images.shape[-1] == size == images.shape[-2]:
        return images
    flat = images.flatten(0, -4)
    flat = F.interpolate(flat, (size, size), mode="bilinear", antialias=not images.is_meta)
    return flat.unflatten(0, images.shape[:-3])


class ImageNetScale(nn.Module):
    """Less ImageNet's mean, in units of its deviation; grey images are shown in all three channels."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 1 or 3, H, W) in [0, 1] to (B, 3, H, W)."""
        colour = images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
        return (colour - self.mean) / self.std
