"""EfficientNet-Lite0 with the ImageNet weights that a package ships: frozen features without a download."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.core.feature_store import FeatureStore, store_of
from harness.core.weights import fold_norms, lite0_weights
from methods.common.pixels import ImageNetScale

TOGETHER = 8
"""Images that pass together on a CPU. The activations of more fall out of its cache; and oneDNN sums in
another order from 16 images on, so up to 8 an image's features do not depend on the others in the batch."""


def efficientnet_lite0() -> Any:
    """timm's network with random weights, a module whose parts mypy does not know."""
    import timm  # takes seconds, and a run that only scores needs no network

    return timm.create_model("efficientnet_lite0", pretrained=False)


class Lite0Stages(nn.Module):
    """Frozen EfficientNet-Lite0 with ImageNet weights: images to the maps after chosen stages.

    The stem and the stages up to the last chosen one are built; their convolutions are part of the state dict
    (0.7 M values for five stages, 2.9 M for seven). Always in eval mode, never under gradients. On a CPU,
    what ``Records`` can hold is computed once per image, for all methods and runs.

    Attributes:
        channels: of the maps, in the order of ``stages``.
        strides: pixels per feature of the maps.
    """

    CHANNELS = (16, 24, 40, 80, 112, 192, 320)
    STRIDES = (2, 4, 8, 16, 16, 32, 32)

    def __init__(self, stages: Sequence[int] = (2, 3, 5, 7), side: int = 0) -> None:
        """``stages`` counts from 1 to 7, ascending; maps larger than ``side`` are averaged to that (0: none).

        Raises:
            ValueError: a stage that the network lacks, or stages out of order.
            UnavailableError: the package with the weights is absent.
        """
        super().__init__()
        if list(stages) != sorted(set(stages)) or not set(stages) <= set(range(1, 8)):
            raise ValueError(f"stages {tuple(stages)}: expected ascending numbers from 1 to 7")
        network = efficientnet_lite0()
        if not network.conv_stem.weight.is_meta:
            network.load_state_dict(lite0_weights())
        self.stages, self.side = tuple(stages), side
        self.channels = [self.CHANNELS[stage - 1] for stage in stages]
        self.strides = [self.STRIDES[stage - 1] for stage in stages]
        parts = [nn.Sequential(network.conv_stem, network.bn1), *network.blocks[: max(stages)]]
        network.eval()
        self.parts = nn.ModuleList(parts)
        fold_norms(self.parts).to(memory_format=torch.channels_last)
        self.requires_grad_(False)
        self.scale = ImageNetScale()
        self.eval()

    def train(self, mode: bool = True) -> Lite0Stages:
        """Stays in eval mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (B, C, H, W) in [0, 1], grey or colour, to one map (B, c, h, w) per chosen stage."""
        sides = [self._side(images.shape[-1], stride) for stride in self.strides]
        if Records.hold(images, self.stages, sides):
            stored = records().maps(images)
            return [averaged(stored[stage], side) for stage, side in zip(self.stages, sides, strict=True)]
        x = self.scale(images).contiguous(memory_format=torch.channels_last)
        parts = [self._maps(part) for part in x.split(TOGETHER if x.device.type == "cpu" else len(x))]
        whole = parts[0] if len(parts) == 1 else [torch.cat(column) for column in zip(*parts, strict=True)]
        return [averaged(x, side) for x, side in zip(whole, sides, strict=True)]

    def _side(self, pixels: int, stride: int) -> int:
        natural = -(-pixels // stride)
        return min(natural, self.side) if self.side else natural

    def _maps(self, x: Tensor) -> list[Tensor]:
        maps = []
        for number, part in enumerate(self.parts):
            x = part(x)
            if number in self.stages:
                maps.append(x)
        return maps


class PooledLite0(nn.Module):
    """Frozen EfficientNet-Lite0: images (B, C, H, W) in [0, 1] to pooled features (B, 1280)."""

    def __init__(self) -> None:
        super().__init__()
        self.network = efficientnet_lite0()
        self.network.load_state_dict(lite0_weights())
        self.network.reset_classifier(0)
        fold_norms(self.network.eval()).to(memory_format=torch.channels_last)
        self.requires_grad_(False)
        self.scale = ImageNetScale()

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Grey images are shown in all three channels."""
        if Records.hold(images, (), ()):
            return records().maps(images)[POOLED].flatten(1)
        return self.everything(images)[POOLED].flatten(1)

    def everything(self, images: Tensor) -> dict[int, Tensor]:
        """Maps (B, c, h, w) after each stage, and under ``POOLED`` the features (B, 1280, 1, 1)."""
        x = self.scale(images).contiguous(memory_format=torch.channels_last)
        x = self.network.bn1(self.network.conv_stem(x))
        features = {}
        for stage, block in enumerate(self.network.blocks, 1):
            features[stage] = x = block(x)
        x = self.network.bn2(self.network.conv_head(x))
        features[POOLED] = self.network.forward_head(x, pre_logits=True)[:, :, None, None]
        return features


POOLED = 0
"""Stands for the pooled features where stages are numbered."""


class Records:
    """Features of images in a ``FeatureStore``: maps after four stages, averaged to 8 x 8, and pooled ones.

    Values are rounded to half precision, whether they were found or have just been computed.
    """

    STAGES = (2, 3, 5, 7)
    SIDE = 8
    VERSION = 1

    def __init__(self, store: FeatureStore) -> None:
        self.store = store
        self.network = PooledLite0()
        digest = hashlib.blake2b(f"{self.VERSION} {torch.__version__}".encode(), digest_size=16)
        for tensor in self.network.state_dict().values():
            digest.update(tensor.contiguous().numpy().tobytes())
        self.identity = digest.digest()

    @classmethod
    def hold(cls, images: Tensor, stages: Sequence[int], sides: Sequence[int]) -> bool:
        """Whether there is a store, whose records give maps of these stages and sides."""
        if images.is_meta or images.device.type != "cpu" or images.shape[-1] != images.shape[-2]:
            return False
        if images.dtype != torch.float32 or store_of("lite0") is None:
            return False
        natural = [-(-images.shape[-1] // Lite0Stages.STRIDES[stage - 1]) for stage in stages]
        return set(stages) <= set(cls.STAGES) and all(
            whole <= cls.SIDE or (whole % cls.SIDE == 0 and cls.SIDE % side == 0)
            for side, whole in zip(sides, natural, strict=True)
        )

    def maps(self, images: Tensor) -> dict[int, Tensor]:
        """Images (B, C, H, W) to stage -> (B, c, h, w), h at most 8; ``POOLED`` -> (B, 1280, 1, 1)."""
        shapes = self._shapes(images.shape[-1])
        keys = [self._key(image) for image in images]
        rows = [None if r is None else np.frombuffer(r, np.float16) for r in self.store.read(keys)]
        sizes = [int(np.prod(shape)) for shape in shapes.values()]
        new = [number for number, row in enumerate(rows) if row is None or row.size != sum(sizes)]
        for part in torch.tensor(new, dtype=torch.long).split(TOGETHER) if new else ():
            features = self.network.everything(images[part])
            columns = [averaged(features[stage], shape[1]).flatten(1) for stage, shape in shapes.items()]
            computed = torch.cat(columns, dim=1).half().numpy()
            rows_of = dict(zip(part.tolist(), computed, strict=True))
            self.store.write({keys[number]: row.tobytes() for number, row in rows_of.items()})
            for number, row in rows_of.items():
                rows[number] = row
        table = torch.from_numpy(np.stack([row for row in rows if row is not None])).float()
        return {
            stage: column.unflatten(1, shape)
            for (stage, shape), column in zip(shapes.items(), table.split(sizes, dim=1), strict=True)
        }

    def _shapes(self, pixels: int) -> dict[int, tuple[int, int, int]]:
        shapes = {}
        for stage in self.STAGES:
            side = min(-(-pixels // Lite0Stages.STRIDES[stage - 1]), self.SIDE)
            shapes[stage] = (Lite0Stages.CHANNELS[stage - 1], side, side)
        return {**shapes, POOLED: (1280, 1, 1)}

    def _key(self, image: Tensor) -> bytes:
        digest = hashlib.blake2b(self.identity, digest_size=16)
        digest.update(str(tuple(image.shape)).encode())
        digest.update(image.contiguous().numpy().data)
        return digest.digest()


def records() -> Records:
    """This process's records."""
    store = store_of("lite0")
    assert store is not None
    return _records(store)


@cache
def _records(store: FeatureStore) -> Records:
    # Building a network draws random numbers, and a step's noise must not depend on which method came first.
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False):
        return Records(store)


def averaged(x: Tensor, side: int) -> Tensor:
    return x if x.shape[-1] == side else F.adaptive_avg_pool2d(x, side)
