"""Deep-equilibrium fusion of confidence-weighted branches (Eq. 13-15), after Ni et al. 2023 (Deep Equilibrium
Multimodal Fusion). Shapes: batch B, branches M, width d; a state is the M branches' and the fused one's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.common.layers import full_precision
from methods.kedr.equilibrium import Map, Solution, equilibrium


class BoundedLinear(nn.Module):
    """A linear map whose largest singular value is scaled down to ``bound`` where it is above it.

    The singular value is followed by one power iteration per training step (Miyato et al. 2018).
    """

    singular: Tensor

    def __init__(self, width: int, bound: float) -> None:
        super().__init__()
        self.bound = bound
        self.weight = nn.Parameter(torch.empty(width, width))
        self.bias = nn.Parameter(torch.zeros(width))
        nn.init.normal_(self.weight, std=0.5 * bound * width**-0.5)
        self.register_buffer("singular", F.normalize(torch.randn(width), dim=0))

    def scaled(self) -> Tensor:
        """The weight (d, d) in use."""
        with torch.no_grad():
            left = F.normalize(self.weight @ self.singular, dim=0)
            if self.training:
                self.singular.copy_(F.normalize(self.weight.T @ left, dim=0))
        norm = left @ self.weight @ self.singular
        return self.weight * (self.bound / norm.clamp(min=self.bound))


class Branch(nn.Module):
    """z <- ReLU(h + W2 ReLU(W1 z)), one branch's residual block: a contraction where the bound is below 1."""

    def __init__(self, width: int, bound: float) -> None:
        super().__init__()
        self.inner, self.outer = BoundedLinear(width, 1.0), BoundedLinear(width, bound)

    def scaled(self) -> tuple[Tensor, Tensor]:
        """W1 and W2 in use."""
        return self.inner.scaled(), self.outer.scaled()

    def forward(self, z: Tensor, injected: Tensor, weights: tuple[Tensor, Tensor]) -> Tensor:
        """State and weighted feature (B, d), and ``scaled()``, to the next state."""
        hidden = F.relu(F.linear(z, weights[0], self.inner.bias))
        return F.relu(F.linear(hidden, weights[1], self.outer.bias) + injected)


class Combination(nn.Module):
    """z <- ReLU(x + W (z * mean_m sigmoid(G (z_m + z)))): the branches gate the fused state."""

    def __init__(self, width: int, bound: float) -> None:
        super().__init__()
        self.gate, self.fuse = BoundedLinear(width, 1.0), BoundedLinear(width, bound)

    def scaled(self) -> tuple[Tensor, Tensor]:
        """G and W in use."""
        return self.gate.scaled(), self.fuse.scaled()

    def forward(
        self, z: Tensor, branches: Sequence[Tensor], injected: Tensor, weights: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Fused state (B, d), branches' states, the weighted sum x of features, ``scaled()``, to the next."""
        gates = torch.sigmoid(F.linear(torch.stack(list(branches)) + z, weights[0], self.gate.bias))
        return F.relu(F.linear(z * gates.mean(0), weights[1], self.fuse.bias) + injected)


class WeightedSum(nn.Module):
    """Sum of the branches, each with a learned weight: the ablation of the fixed point."""

    def __init__(self, branches: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.ones(branches))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, None]:
        """M features (B, d) to their sum (B, d); nothing was solved."""
        return torch.stack(list(features), dim=-1) @ self.weights + self.bias, None


class EquilibriumFusion(nn.Module):
    """Weighted features to the fused state at the fixed point of all branches and their combination."""

    def __init__(
        self, width: int, branches: int, bound: float, limit: int, tolerances: tuple[float, float]
    ) -> None:
        """``tolerances`` are those of training and of inference."""
        super().__init__()
        self.branches = nn.ModuleList(Branch(width, bound) for _ in range(branches))
        self.combination = Combination(width, bound)
        self.weights = nn.Parameter(torch.ones(branches))
        self.bias = nn.Parameter(torch.zeros(1))
        self.limit, self.tolerances = limit, tolerances

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, Solution]:
        """M features (B, d) to the fused feature (B, d) and how the solver found it.

        Computed in float32 also under mixed precision: rounding would end the iteration early.
        """
        with full_precision(features[0]):
            return self._solve([feature.float() for feature in features])

    def operator(self, features: Sequence[Tensor]) -> Map:
        """F of Eq. (15) for M weighted features (B, d): states (B, (M + 1) d) to the next ones."""
        combination = self.combination
        branches = [branch for branch in self.branches if isinstance(branch, Branch)]
        inner, outer = [branch.scaled() for branch in branches], combination.scaled()
        summed = torch.stack(list(features), dim=-1) @ self.weights + self.bias

        def step(state: Tensor) -> Tensor:
            *states, fused = state.unflatten(1, (len(features) + 1, -1)).unbind(1)
            states = [
                branch(z, h, weights)
                for branch, z, h, weights in zip(branches, states, features, inner, strict=True)
            ]
            fused = combination(fused, states, summed, outer)  # Eq. (15)
            return torch.cat([*states, fused], dim=1)

        return step

    def _solve(self, features: list[Tensor]) -> tuple[Tensor, Solution]:
        width = features[0].shape[1]
        start = features[0].new_zeros(len(features[0]), width * (len(features) + 1))
        step = self.operator(features)
        tolerance = self.tolerances[0] if self.training else self.tolerances[1]
        state, solution = equilibrium(step, start, self.limit, tolerance)  # Eq. (13)-(14)
        return state[:, -width:], solution
