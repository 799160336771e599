"""Parameter groups and learning-rate schedules of the methods."""

from __future__ import annotations

import pytest
from torch import nn

from methods.common.optim import Shape, decay_groups, rate_groups, schedule


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2, bias=False))


def test_matrices_decay_and_vectors_do_not() -> None:
    matrices, vectors = decay_groups(network().parameters(), 0.1)
    assert [p.dim() for p in matrices["params"]] == [2, 2]
    assert matrices["weight_decay"] == 0.1
    assert [p.dim() for p in vectors["params"]] == [1, 1, 1]
    assert vectors["weight_decay"] == 0.0
    frozen = network().requires_grad_(False)
    assert decay_groups(frozen.parameters(), 0.1) == []


def test_pretrained_parts_have_a_rate_of_their_own() -> None:
    groups = rate_groups(network(), 1.0, 0.1, pretrained=lambda name: name.startswith("0."), factor=0.25)
    found = [(group["lr"], group["weight_decay"], len(group["params"])) for group in groups]
    assert found == [(0.25, 0.1, 1), (0.25, 0.0, 1), (1.0, 0.0, 2), (1.0, 0.1, 1)]


@pytest.mark.parametrize(
    ("shape", "after"),
    [
        ("constant", [1.0, 1.0, 1.0, 1.0]),
        ("linear", [1.0, 0.75, 0.5, 0.25]),
        ("cosine", [1.0, 0.853553, 0.5, 0.146447]),
    ],
)
def test_rates_rise_on_a_line_and_then_follow_their_shape(shape: Shape, after: list[float]) -> None:
    factor = schedule(6, 2, shape)
    assert [factor(step) for step in range(6)] == pytest.approx([0.5, 1.0, *after], abs=1e-6)


def test_a_step_schedule_drops_in_the_second_half() -> None:
    factor = schedule(4, 0, "step")
    assert [factor(step) for step in range(4)] == [1.0, 1.0, 0.1, 0.1]
