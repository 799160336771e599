"""Frozen backbones: their maps, what absent views cost, what is kept while fitting."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor

from harness.core.weights import lite0_weights
from methods.common.feature_cache import FeatureCache
from methods.common.lite0 import Lite0Stages
from methods.common.pixels import IMAGENET_MEAN, IMAGENET_STD
from methods.common.views import PositionNorm, of_present


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


def test_absent_views_are_zeros_and_are_not_computed() -> None:
    seen: list[int] = []

    def module(x: Tensor, y: Tensor) -> list[Tensor]:
        seen.append(len(x))
        return [x.flatten(1).sum(1), 2 * y + 1]

    x, y = torch.rand(3, 2, 1, 4, 4), torch.rand(3, 2, 5)
    present = torch.tensor([[True, False], [True, True], [False, False]])
    first, second = of_present(module, [x, y], present)
    close(first, x.flatten(2).sum(2) * present)
    close(second, (2 * y + 1) * present[..., None])
    of_present(module, [x, y], torch.ones_like(present))
    nothing = of_present(module, [x, y], torch.zeros_like(present))
    assert seen == [3, 6, 1]
    assert all(output.eq(0).all() for output in nothing)


def test_position_norm_standardises_present_views_and_is_fixed_in_eval_mode() -> None:
    torch.manual_seed(0)
    norm, x = PositionNorm(2, 12), 3 + 2 * torch.randn(64, 2, 3, 2, 2)
    present = torch.ones(64, 2, dtype=torch.bool)
    present[40:, 1] = False
    for _ in range(60):
        output = norm(x, present)
    seen = output[:40, 1].flatten(1)
    close(seen.mean(0), torch.zeros(12))
    close(seen.square().mean(0), torch.ones(12))
    assert output[40:, 1].eq(0).all()
    norm.eval()
    whole = norm(x, present)
    close(whole[3:4], norm(x[3:4], present[3:4]))
    torch.testing.assert_close(whole[:40], output[:40], atol=0.1, rtol=0.1)


def test_position_norm_survives_one_study_and_none() -> None:
    norm = PositionNorm(1, 3)
    assert torch.isfinite(norm(torch.randn(1, 1, 3), torch.ones(1, 1, dtype=torch.bool))).all()
    assert norm(torch.randn(2, 1, 3), torch.zeros(2, 1, dtype=torch.bool)).eq(0).all()


def test_features_are_computed_once_per_study_while_kept() -> None:
    kept, calls = FeatureCache(), list[int]()
    values = {"a": 1.0, "b": 2.0, "c": 3.0}

    def ask(*ids: str) -> Tensor:
        def compute(rows: list[int]) -> list[Tensor]:
            calls.append(len(rows))
            return [torch.tensor([[values[ids[row]]] for row in rows])]

        return kept(ids, compute, torch.zeros(1))[0]

    with kept.keeping():
        close(ask("a", "b"), torch.tensor([[1.0], [2.0]]))
        close(ask("c", "a"), torch.tensor([[3.0], [1.0]]))
        assert ask("b").dtype == torch.float32
        assert calls == [2, 1]
    ask("a")
    assert calls == [2, 1, 1]
    with kept.keeping(active=False):
        ask("a")
        ask("a")
    assert calls == [2, 1, 1, 1, 1]
