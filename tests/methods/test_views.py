"""Views: what absent ones cost, and standardisation over those that are present."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from methods.common.views import PositionNorm, of_present


def close(first: Tensor, second: Tensor, tolerance: float = 1e-4) -> None:
    torch.testing.assert_close(first, second, atol=tolerance, rtol=tolerance)


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


@pytest.mark.parametrize("views", [0, 1])
def test_a_black_image_in_the_place_of_no_image_moves_no_statistics(views: int) -> None:
    norm = torch.nn.BatchNorm2d(3)
    before = {name: tensor.clone() for name, tensor in norm.state_dict().items()}
    present = torch.zeros(2, 1, dtype=torch.bool)
    present[:views] = True
    (output,) = of_present(lambda x: [norm(x)], torch.ones(2, 1, 3, 4, 4), present, norm)
    assert output.shape == (2, 1, 3, 4, 4)
    assert output[views:].eq(0).all()
    assert norm.training
    moved = [name for name, tensor in norm.state_dict().items() if not torch.equal(tensor, before[name])]
    assert bool(moved) == bool(views)


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
