"""What image encoders share: views that are there, standardised features, features kept while fitting."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def resized(images: Tensor, size: int) -> Tensor:
    """(B, N, C, H, W) to (B, N, C, size, size)."""
    if images.shape[-1] == size == images.shape[-2]:
        return images
    flat = F.interpolate(images.flatten(0, 1), (size, size), mode="bilinear", antialias=not images.is_meta)
    return flat.unflatten(0, images.shape[:2])


def of_present(
    module: Callable[..., Sequence[Tensor]], inputs: Tensor | Sequence[Tensor], present: Tensor
) -> list[Tensor]:
    """What ``module`` makes of the views that are there; zeros for the others, which cost no time.

    Args:
        module: tensors (M, ...), one argument for each of ``inputs``, to tensors (M, ...).
        inputs: one tensor or several (B, N, ...).
        present: bool (B, N).

    Returns:
        Tensors (B, N, ...).
    """
    flat = [x.flatten(0, 1) for x in ([inputs] if isinstance(inputs, Tensor) else inputs)]
    keep = present.flatten()
    if keep.is_meta or bool(keep.all()):
        return [output.unflatten(0, present.shape) for output in module(*flat)]
    some = bool(keep.any())
    results = []
    for output in module(*(x[keep] if some else torch.zeros_like(x[:1]) for x in flat)):
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


class KeptFeatures:
    """What frozen layers make of each study, held in half precision on the CPU while a method is fitted.

    Inside ``keeping()`` a study passes the frozen layers once; outside, every call computes. For inputs that
    do not change between epochs only.
    """

    def __init__(self) -> None:
        self._kept: dict[str, list[Tensor]] | None = None

    @contextmanager
    def keeping(self, active: bool = True) -> Iterator[None]:
        """Keep features until the block ends; ``active=False`` keeps none."""
        self._kept = {} if active else None
        try:
            yield
        finally:
            self._kept = None

    def __call__(
        self, ids: Sequence[str], compute: Callable[[list[int]], Sequence[Tensor]], like: Tensor
    ) -> list[Tensor]:
        """Features of the studies ``ids``, stacked: tensors (B, ...) of the device and type of ``like``.

        Args:
            compute: row numbers of this batch to tensors (len(rows), ...).
        """
        if self._kept is None:
            return list(compute(list(range(len(ids)))))
        new = [row for row, name in enumerate(ids) if name not in self._kept]
        if new:
            outputs = [output.detach().half().cpu() for output in compute(new)]
            for position, row in enumerate(new):
                self._kept[ids[row]] = [output[position].clone() for output in outputs]
        columns = zip(*(self._kept[name] for name in ids), strict=True)
        return [torch.stack(column).to(like.device, like.dtype) for column in columns]
