"""Fixed points by Broyden's method, with implicit gradients (Bai, Kolter & Koltun 2019).

Shapes: batch B, state N. Every study stops for itself, so that its solution does not depend on the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Solution:
    """What the solver found.

    Attributes:
        state: (B, N), the state of the smallest residual.
        residual: (B,), |f(z) - z| / |f(z)| there.
        iterations: int (B,), evaluations of f after the first until the tolerance was met (or the limit).
    """

    state: Tensor
    residual: Tensor
    iterations: Tensor


class InverseJacobian:
    """Broyden's estimate H = -I + U^T V of the inverse Jacobian of f(z) - z, one per study."""

    def __init__(self, like: Tensor, limit: int) -> None:
        # Only the first ``rank`` vectors are ever read.
        self.left = like.new_empty(len(like), limit, like.shape[1])
        self.right = torch.empty_like(self.left)
        self.rank = 0

    def times(self, x: Tensor, transposed: bool = False) -> Tensor:
        """H x, or H^T x, for x (B, N)."""
        first, second = (self.left, self.right) if transposed else (self.right, self.left)
        inner = torch.bmm(first[:, : self.rank], x[..., None])
        return torch.bmm(second[:, : self.rank].transpose(1, 2), inner)[..., 0] - x

    def update(self, step: Tensor, change: Tensor, active: Tensor) -> None:
        """Learn that ``step`` (B, N) changed f(z) - z by ``change``: H <- H + (s - H y) s^T H / (s^T H y)."""
        right = self.times(step, transposed=True)
        scale = (right * change).sum(1, keepdim=True)
        usable = active[:, None] & (scale.abs() > 1e-12)
        left = (step - self.times(change)) / torch.where(usable, scale, torch.ones_like(scale))
        self.left[:, self.rank] = torch.where(usable, left, torch.zeros_like(left))
        self.right[:, self.rank] = torch.where(usable, right, torch.zeros_like(right))
        self.rank += 1


@torch.no_grad()
def broyden(f: Map, start: Tensor, limit: int, tolerance: float) -> Solution:
    """Solve z = f(z) by Broyden's (first) method from ``start`` (B, N).

    Args:
        f: (B, N) to (B, N), row by row.
        limit: most updates of the state.
        tolerance: relative residual |f(z) - z| / |f(z)| at which a study stops.
    """
    z = start.clone()
    if z.is_meta:  # nothing can be compared: all iterations, for costs to be counted
        for _ in range(limit + 1):
            z = f(z)
        return Solution(z, z.new_zeros(len(z)), torch.zeros(len(z), dtype=torch.long, device=z.device))
    inverse = InverseJacobian(z, limit)
    value = f(z)
    gap = value - z
    best, lowest = z.clone(), _relative(gap, value)
    active = lowest > tolerance
    iterations = torch.zeros(len(z), dtype=torch.long, device=z.device)
    for _ in range(limit):
        if not bool(active.any()):
            break
        step = torch.where(active[:, None], -inverse.times(gap), torch.zeros_like(gap))
        z = z + step
        value = f(z)
        fresh = torch.where(active[:, None], value - z, gap)
        residual = _relative(fresh, value)
        iterations += active
        better = active & (residual < lowest)
        best = torch.where(better[:, None], z, best)
        lowest = torch.where(better, residual, lowest)
        inverse.update(step, fresh - gap, active)
        gap = fresh
        active = active & (residual > tolerance) & residual.isfinite()
    return Solution(best, lowest, iterations)


def equilibrium(f: Map, start: Tensor, limit: int, tolerance: float) -> tuple[Tensor, Solution]:
    """Fixed point z* = f(z*) (B, N) that gradients flow through, and how it was found.

    Backward solves y = J^T y + g, J the Jacobian of f at z*, instead of unrolling the iterations.
    """
    solution = broyden(f, start, limit, tolerance)
    if not torch.is_grad_enabled() or start.is_meta:
        return solution.state, solution
    result = f(solution.state)
    point = solution.state.detach().requires_grad_()
    image = f(point)

    def implicit(gradient: Tensor) -> Tensor:
        def adjoint(y: Tensor) -> Tensor:
            with torch.enable_grad():
                (product,) = torch.autograd.grad(image, point, y, retain_graph=True)
            return product + gradient

        return broyden(adjoint, gradient, limit, tolerance).state

    if result.requires_grad:
        result.register_hook(implicit)
    return result, solution


def _relative(gap: Tensor, value: Tensor) -> Tensor:
    return gap.norm(dim=1) / value.norm(dim=1).clamp(min=1e-12)
