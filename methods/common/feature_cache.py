"""Features of frozen layers, computed once per study while a method is fitted.

This cache lives in memory, for one ``fit``. Features of the frozen EfficientNet-Lite0 are also kept on disk,
for all methods and runs: ``methods.common.lite0.Records``, over ``harness.core.feature_store``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


class FeatureCache:
    """Outputs of frozen layers by study, held in half precision on the CPU.

    Inside ``keeping()`` a study passes the frozen layers once; outside, every call computes. For inputs that
    do not change between epochs only.
    """

    def __init__(self) -> None:
        self._features: dict[str, list[Tensor]] | None = None

    @contextmanager
    def keeping(self, active: bool = True) -> Iterator[None]:
        """Keep features until the block ends; ``active=False`` keeps none."""
        self._features = {} if active else None
        try:
            yield
        finally:
            self._features = None

    def __call__(
        self, ids: Sequence[str], compute: Callable[[list[int]], Sequence[Tensor]], like: Tensor
    ) -> list[Tensor]:
        """Features of the studies ``ids``, stacked: tensors (B, ...) of the device and type of ``like``.

        Args:
            compute: row numbers of this batch to tensors (len(rows), ...).
        """
        if self._features is None:
            return list(compute(list(range(len(ids)))))
        new = [row for row, name in enumerate(ids) if name not in self._features]
        if new:
            outputs = [output.detach().half().cpu() for output in compute(new)]
            for position, row in enumerate(new):
                self._features[ids[row]] = [output[position].clone() for output in outputs]
        columns = zip(*(self._features[name] for name in ids), strict=True)
        return [torch.stack(column).to(like.device, like.dtype) for column in columns]
