"""Vital signs of the baselines: what each modality counts in the answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from harness.method.probes import Probe
from methods.baselines.network import FusionNetwork
from methods.common.diagnosis import relative_change


def probes(network: FusionNetwork, trunk: Tensor, present: Tensor, names: Sequence[str]) -> Iterator[Probe]:
    """How much the logits change where a modality is taken away from the studies that have it.

    Args:
        network: the baseline.
        trunk: output (B, N, ...) of ``network.features.trunk``.
        present: bool (B, N).
        names: of the N modalities.
    """
    whole = network(trunk, present).float()
    for number, name in enumerate(names):
        rows = present[:, number]
        if rows.sum() < 2:  # nothing varies
            continue
        without = present.clone()
        without[:, number] = False
        change = network(trunk, without).float()[rows] - whole[rows]
        share = relative_change(change, whole[rows])
        what = f"change of the logits without {name}, relative to how they vary over studies"
        yield Probe("fusion", what, share, 0.0, 1.0 / len(names))
