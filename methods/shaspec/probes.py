"""Vital signs of ShaSpec's parts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations

import torch

from harness.method.probes import Probe
from methods.common.diagnosis import relative_change
from methods.shaspec.losses import domain_loss
from methods.shaspec.network import Reading, ShaSpecNetwork


def specific_probe(network: ShaSpecNetwork, reading: Reading) -> Probe:
    """Whether the specific features have a part in the decision."""
    fused = network.fuse(reading.shared, torch.zeros_like(reading.specific), reading.present)
    change = network.classify(fused, reading.present) - reading.logits
    what = "change of the logits without specific features, relative to how they vary over studies"
    return Probe("specific encoders", what, relative_change(change, reading.logits), 0.0, 0.5)


def domain_probe(network: ShaSpecNetwork, reading: Reading) -> Probe:
    """Whether the specific feature shows which modality it is of."""
    loss = float(domain_loss(network.domain(reading.specific), reading.present))
    return Probe(
        "domain classification", "cross-entropy, nats", loss, math.log(reading.present.shape[1]), 0.0
    )


def alignment_probes(reading: Reading) -> Iterator[Probe]:
    """Whether a study's shared features lie closer to each other than to other studies' ones."""
    for one, other in combinations(range(reading.present.shape[1]), 2):
        both = reading.present[:, one] & reading.present[:, other]
        if int(both.sum()) < 2:
            continue
        distances = torch.cdist(reading.shared[both, one].float(), reading.shared[both, other].float(), p=1)
        own = distances.diagonal().mean()
        others = (distances.sum() - distances.diagonal().sum()) / (len(distances) * (len(distances) - 1))
        ratio = float(own / others.clamp(min=1e-12))
        what = f"distance of a study's shared features {one + 1} and {other + 1}, relative to other studies'"
        yield Probe("shared encoder", what, ratio, 1.0, 0.5)


def generation_probes(network: ShaSpecNetwork, reading: Reading, names: list[str]) -> Iterator[Probe]:
    """Whether a generated feature says something about its study."""
    for number, name in enumerate(names):
        here = reading.present.clone()
        here[:, number] = False
        some = reading.present[:, number] & here.any(1)
        if int(some.sum()) < 2:
            continue
        shared, specific, here = reading.shared[some], reading.specific[some], here[some]
        fused = network.fuse(shared, specific, here)
        without = fused * here[..., None]
        logits = network.classify(fused, here)
        share = relative_change(network.classify(without, here) - logits, logits)
        what = f"change of the logits if the generated {name} feature were zeros, relative to how they vary"
        yield Probe("generation", what, share, 0.0, 0.5)
