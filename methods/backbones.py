"""Image backbones whose pretrained weights ship inside a package, so that they work offline."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import timm
import torch
import torch.nn.functional as F
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


class Lite0Stages(nn.Module):
    """Frozen EfficientNet-Lite0 with ImageNet weights: images to the maps after chosen stages.

    The stem and the stages up to the last chosen one are built; their convolutions are part of the state dict
    (0.7 M values for five stages, 2.9 M for seven). Always in eval mode, never under gradients.

    Attributes:
        channels: of the maps, in the order of ``stages``.
        strides: pixels per feature of the maps.
    """

    CHANNELS = (16, 24, 40, 80, 112, 192, 320)
    STRIDES = (2, 4, 8, 16, 16, 32, 32)
    TOGETHER = 16
    """Images that pass together on a CPU: the activations of more fall out of its cache."""

    mean: Tensor
    std: Tensor

    def __init__(self, stages: Sequence[int] = (2, 3, 5, 7)) -> None:
        """``stages`` counts from 1 to 7, ascending.

        Raises:
            ValueError: a stage that the network lacks, or stages out of order.
            UnavailableError: the package with the weights is absent.
        """
        super().__init__()
        if list(stages) != sorted(set(stages)) or not set(stages) <= set(range(1, 8)):
            raise ValueError(f"stages {tuple(stages)}: expected ascending numbers from 1 to 7")
        network = timm.create_model("efficientnet_lite0", pretrained=False)
        if not network.conv_stem.weight.is_meta:
            network.load_state_dict(lite0_weights())
        self.stages = tuple(stages)
        self.channels = [self.CHANNELS[stage - 1] for stage in stages]
        self.strides = [self.STRIDES[stage - 1] for stage in stages]
        parts = [nn.Sequential(network.conv_stem, network.bn1), *network.blocks[: max(stages)]]
        network.eval()
        self.parts = fold_norms(nn.ModuleList(parts)).to(memory_format=torch.channels_last)
        self.requires_grad_(False)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)
        self.eval()

    def train(self, mode: bool = True) -> Lite0Stages:
        """Stays in eval mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (B, C, H, W) in [0, 1], grey or colour, to one map (B, c, h, w) per chosen stage."""
        colour = images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
        x = ((colour - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        if x.device.type != "cpu" or len(x) <= self.TOGETHER:
            return self._maps(x)
        parts = [self._maps(part) for part in x.split(self.TOGETHER)]
        return [torch.cat(column) for column in zip(*parts, strict=True)]

    def _maps(self, x: Tensor) -> list[Tensor]:
        maps = []
        for number, part in enumerate(self.parts):
            x = part(x)
            if number in self.stages:
                maps.append(x)
        return maps


def resized(images: Tensor, size: int) -> Tensor:
    """(B, N, C, H, W) to (B, N, C, size, size)."""
    if images.shape[-1] == size == images.shape[-2]:
        return images
    flat = F.interpolate(images.flatten(0, 1), (size, size), mode="bilinear", antialias=not images.is_meta)
    return flat.unflatten(0, images.shape[:2])


def of_present(
    module: Callable[..., Sequence[Tensor]], inputs: Tensor | Sequence[Tensor], present: Tensor
) -> list[Tensor]:
    """What ``module`` makes of the views that are there; zeros for the others, which cost no time.

    Args:
        module: tensors (M, ...), one argument for each of ``inputs``, to tensors (M, ...).
        inputs: one tensor or several (B, N, ...).
        present: bool (B, N).

    Returns:
        Tensors (B, N, ...).
    """
    flat = [x.flatten(0, 1) for x in ([inputs] if isinstance(inputs, Tensor) else inputs)]
    keep = present.flatten()
    if keep.is_meta or bool(keep.all()):
        return [output.unflatten(0, present.shape) for output in module(*flat)]
    some = bool(keep.any())
    results = []
    for output in module(*(x[keep] if some else torch.zeros_like(x[:1]) for x in flat)):
        result = output.new_zeros(len(keep), *output.shape[1:])
        if some:
            result[keep] = output
        results.append(result.unflatten(0, present.shape))
    return results


class PositionNorm(nn.Module):
    """Standardises each view's every channel and position with statistics of the training studies.

    Frozen ImageNet features of one kind of picture hardly vary between studies; this brings what does vary to
    unit size. No learned scale or shift. ``size``: values of one view, the product of the last dimensions.
    """

    def __init__(self, views: int, size: int) -> None:
        super().__init__()
        self.views = nn.ModuleList(nn.BatchNorm1d(size, affine=False) for _ in range(views))

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """(B, N, ...) and bool (B, N) to the same shape, in which views that are not there are zeros.

        In training mode the statistics are those of the batch's present views, where there are two or more.
        """
        columns = []
        for norm, view, here in zip(self.views, x.flatten(2).unbind(1), present.unbind(1), strict=True):
            if view.is_meta or not bool(here.any()):
                columns.append(view * 0)
                continue
            use_batch = norm.training and int(here.sum()) > 1
            result = torch.zeros_like(view, dtype=torch.float32)
            result[here] = F.batch_norm(
                view[here].float(),
                norm.running_mean,
                norm.running_var,
                training=use_batch,
                momentum=norm.momentum,
                eps=norm.eps,
            )
            columns.append(result)
        return torch.stack(columns, dim=1).view(x.shape)


class KeptFeatures:
    """What frozen layers make of each study, held in half precision on the CPU while a method is fitted.

    Inside ``keeping()`` a study passes the frozen layers once; outside, every call computes. For inputs that
    do not change between epochs only.
    """

    def __init__(self) -> None:
        self._kept: dict[str, list[Tensor]] | None = None

    @contextmanager
    def keeping(self, active: bool = True) -> Iterator[None]:
        """Keep features until the block ends; ``active=False`` keeps none."""
        self._kept = {} if active else None
        try:
            yield
        finally:
            self._kept = None

    def __call__(
        self, ids: Sequence[str], compute: Callable[[list[int]], Sequence[Tensor]], like: Tensor
    ) -> list[Tensor]:
        """Features of the studies ``ids``, stacked: tensors (B, ...) of the device and type of ``like``.

        Args:
            compute: row numbers of this batch to tensors (len(rows), ...).
        """
        if self._kept is None:
            return list(compute(list(range(len(ids)))))
        new = [row for row, name in enumerate(ids) if name not in self._kept]
        if new:
            outputs = [output.detach().half().cpu() for output in compute(new)]
            for position, row in enumerate(new):
                self._kept[ids[row]] = [output[position].clone() for output in outputs]
        columns = zip(*(self._kept[name] for name in ids), strict=True)
        return [torch.stack(column).to(like.device, like.dtype) for column in columns]
