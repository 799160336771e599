"""Image backbones whose pretrained weights ship inside a package, so that they work offline."""

from __future__ import annotations

import timm
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from harness.weights import lite0_weights

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def fold_norms(module: nn.Module) -> nn.Module:
    """Fold each batch normalisation that follows a convolution into it, in place; for frozen networks only.

    Outputs are equal up to rounding and a third of EfficientNet's time on a CPU is saved.
    """
    before: nn.Module | None = None
    for name, child in list(module.named_children()):
        if isinstance(child, nn.BatchNorm2d) and isinstance(before, nn.Conv2d):
            before.weight, before.bias = fuse_conv_bn_weights(
                before.weight,
                before.bias,
                child.running_mean,
                child.running_var,
                child.eps,
                child.weight,
                child.bias,
            )
            # timm's normalisation layers hold the activation that follows.
            setattr(module, name, getattr(child, "act", nn.Identity()))
        else:
            fold_norms(child)
        before = child
    return module


class PooledLite0(nn.Module):
    """Frozen EfficientNet-Lite0: images (B, C, H, W) in [0, 1] to pooled features (B, 1280)."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.network = timm.create_model("efficientnet_lite0", pretrained=False)
        self.network.load_state_dict(lite0_weights())
        self.network.reset_classifier(0)
        fold_norms(self.network).to(memory_format=torch.channels_last)
        self.requires_grad_(False)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Grey images are shown in all three channels."""
        colour = images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
        features: Tensor = self.network((colour - self.mean) / self.std)
        return features
