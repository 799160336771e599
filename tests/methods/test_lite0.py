"""Frozen EfficientNet-Lite0: its maps are the whole network's, and it stays frozen."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor

from harness.core.weights import lite0_weights
from methods.common.lite0 import Lite0Stages
from methods.common.pixels import IMAGENET_MEAN, IMAGENET_STD


def close(first: Tensor, second: Tensor, tolerance: float = 1e-4) -> None:
    torch.testing.assert_close(first, second, atol=tolerance, rtol=tolerance)


def test_lite0_stages_are_those_of_the_whole_network() -> None:
    torch.manual_seed(0)
    stages, images = Lite0Stages((2, 5, 7)), torch.rand(2, 1, 64, 64)
    whole = timm.create_model("efficientnet_lite0", pretrained=False).eval()
    whole.load_state_dict(lite0_weights())
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (IMAGENET_MEAN, IMAGENET_STD))
    x = whole.bn1(whole.conv_stem((images.expand(-1, 3, -1, -1) - mean) / std))
    expected = []
    with torch.no_grad():
        for block in whole.blocks:
            x = block(x)
            expected.append(x)
    maps = stages(images)
    for found, stage, channels, stride in zip(maps, (2, 5, 7), stages.channels, stages.strides, strict=True):
        close(found, expected[stage - 1], 1e-3)
        assert found.shape == (2, channels, 64 // stride, 64 // stride)
    close(stages(images.expand(-1, 3, -1, -1))[0], maps[0])


def test_lite0_stays_frozen() -> None:
    stages = Lite0Stages((1,)).train()
    assert not any(module.training for module in stages.modules())
    assert not any(parameter.requires_grad for parameter in stages.parameters())
    assert not stages(torch.rand(1, 1, 16, 16, requires_grad=True))[0].requires_grad
    for wrong in ((5, 2), (0,), (8,), (2, 2)):
        with pytest.raises(ValueError, match="stages"):
            Lite0Stages(wrong)
