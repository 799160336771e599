"""Stochastic weight averaging inside the optimiser, so that the last step leaves the averaged weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class AveragedAdam(torch.optim.AdamW):
    """Adam with decoupled decay that ends at the mean of its last steps' parameters (Izmailov et al. 2018).

    The mean is part of the optimiser's state, so that an interrupted training continues with it.
    """

    def __init__(self, params: Iterable[Any], *, steps: int, share: float, **options: Any) -> None:
        """``steps`` of the whole run, over whose last ``share`` weights are averaged; 0 averages none."""
        super().__init__(params, **options)
        self.steps = steps
        self.first = steps - round(share * steps)
        for group in self.param_groups:
            group.setdefault("taken", 0)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; the run's last one ends at the mean."""
        loss = super().step(closure)
        for group in self.param_groups:
            group["taken"] += 1
            count = group["taken"] - self.first
            if count < 1:
                continue
            for parameter in group["params"]:
                state: dict[str, Tensor] = self.state[parameter]
                mean = state.setdefault("mean", torch.zeros_like(parameter))
                mean += (parameter - mean) / count
                if group["taken"] == self.steps:
                    parameter.copy_(mean)
        return loss
