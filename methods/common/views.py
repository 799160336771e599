"""Several views of one study: stacking, masks, computing on the views that are present alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from harness.core.types import DatasetInfo, Inputs


def stacked_views(inputs: Inputs, views: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Images (B, N, C, H, W) of N views in [0, 1], and bool (B, N): which of them a study has."""
    images = torch.stack([inputs.images[view] for view in views], dim=1)
    return images, present_views(inputs, views)


def present_views(inputs: Inputs, views: Sequence[str]) -> Tensor:
    """Bool (B, N): which of N views a study has."""
    return torch.stack([inputs.present[view] for view in views], dim=1)


def complete_inputs(
    info: DatasetInfo, batch_size: int, image_size: int, context: str | None = None
) -> Inputs:
    """Black images of every view, nothing absent, one context for all: what FLOPs are counted on."""
    shape = (batch_size, info.channels, image_size, image_size)
    images = {view: torch.zeros(shape) for view in info.image_modalities}
    present = {name: torch.ones(batch_size, dtype=torch.bool) for name in info.modalities}
    return Inputs(["example"] * batch_size, images, [context] * batch_size, present, [0] * batch_size)


@contextmanager
def kept_statistics(network: nn.Module | None) -> Iterator[None]:
    """Inside, batch normalisation of ``network`` neither uses nor moves statistics of the batch."""
    norms = [part for part in (network.modules() if network else ()) if isinstance(part, _BatchNorm)]
    training = [norm for norm in norms if norm.training]
    for norm in training:
        norm.eval()
    try:
        yield
    finally:
        for norm in training:
            norm.train()


def of_present(
    module: Callable[..., Sequence[Tensor]],
    inputs: Tensor | Sequence[Tensor],
    present: Tensor,
    network: nn.Module | None = None,
) -> list[Tensor]:
    """What ``module`` makes of the views that are there; zeros for the others, which cost no time.

    Where no view is there, one black image tells the shapes. It does not reach the running statistics of
    ``network``.

    Args:
        module: tensors (M, ...), one argument for each of ``inputs``, to tensors (M, ...).
        inputs: one tensor or several (B, N, ...).
        present: bool (B, N).
        network: whose batch normalisation ``module`` uses; None where it uses none that learns.

    Returns:
        Tensors (B, N, ...).
    """
    flat = [x.flatten(0, 1) for x in ([inputs] if isinstance(inputs, Tensor) else inputs)]
    keep = present.flatten()
    if keep.is_meta or bool(keep.all()):
        return [output.unflatten(0, present.shape) for output in module(*flat)]
    some = bool(keep.any())
    results = []
    with kept_statistics(None if some else network):
        outputs = module(*(x[keep] if some else torch.zeros_like(x[:1]) for x in flat))
    for output in outputs:
        result = output.new_zeros(len(keep), *output.shape[1:])
        if some:
            result[keep] = output
        results.append(result.unflatten(0, present.shape))
    return results


class PositionNorm(nn.Module):
    """Standardises each view's every channel and position with statistics of the training studies.

    Frozen ImageNet features of one kind of image hardly vary between studies; this brings what does vary to
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
            assert isinstance(norm, nn.BatchNorm1d)
            use_batch = norm.training and int(here.sum()) > 1
            result = torch.zeros_like(view, dtype=torch.float32)
            result[here] = F.batch_norm(
                view[here].float(),
                norm.running_mean,
                norm.running_var,
                training=use_batch,
                momentum=norm.momentum or 0.0,
                eps=norm.eps,
            )
            columns.append(result)
        return torch.stack(columns, dim=1).view(x.shape)
