"""AdamW's parameter groups and learning-rate schedules that several methods share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import nn

Shape = Literal["constant", "linear", "cosine", "step"]
"""The rate after its warm-up: constant; falling to 0, on a line or on half a cosine; or a tenth of itself in
the second half of all steps."""

Optimizer = tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]
"""What ``TorchMethod.optimizer`` returns: an optimiser and its schedule per step."""


def decay_groups(parameters: Iterable[nn.Parameter], decay: float) -> list[dict[str, Any]]:
    """Matrices with weight decay, then vectors (biases and norms) without; empty groups are left out."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": decay},
        {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def rate_groups(
    network: nn.Module, rate: float, decay: float, pretrained: Callable[[str], bool], factor: float
) -> list[dict[str, Any]]:
    """Groups of the pretrained and of the new parameters, each split into matrices and vectors.

    Groups stand in the order in which the network names their first parameters.

    Args:
        rate: learning rate of the new parameters.
        decay: weight decay of matrices; vectors (biases and norms) have none.
        pretrained: whether a parameter, by its name, belongs to a pretrained part.
        factor: of the learning rate of pretrained parts.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((pretrained(name), parameter.dim() > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": rate * (factor if tuned else 1.0),
            "weight_decay": decay if matrices else 0.0,
        }
        for (tuned, matrices), parameters in groups.items()
    ]


def clip_parts(network: nn.Module, norm: float) -> None:
    """Clip the gradient of each child of ``network`` to ``norm``: a large one shrinks no other step."""
    for part in network.children():
        parameters = [each for each in part.parameters() if each.grad is not None]
        if parameters:
            nn.utils.clip_grad_norm_(parameters, norm)


def schedule(steps: int, warm: int, shape: Shape) -> Callable[[int], float]:
    """Factor on the learning rate at each of ``steps``: linear warm-up over ``warm``, then ``shape``."""

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        if shape == "constant":
            return 1.0
        if shape == "step":
            return 1.0 if 2 * step < steps else 0.1
        if shape == "linear":
            return max(0.0, (steps - step) / max(1, steps - warm))
        return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (step - warm) / max(1, steps - warm))))

    return factor


def scheduled(optimizer: torch.optim.Optimizer, factor: Callable[[int], float]) -> Optimizer:
    """The optimiser and a scheduler that multiplies its rates by ``factor`` of the step."""
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
