"""Vital signs of VDGen's named parts: VSE, DID, the image in the prompt, LoRA."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.method.probes import Probe
from methods.vdgen.network import VDGenNetwork, mean_of

IMAGE_GAIN = 0.05
"""Nats per token that the right image saves a decoder that reads it: as tiny does on ``iu-phantom``."""

LORA_NORM = 0.01
"""Size of a LoRA update that acts, as a share of the matrix that it is added to."""


@dataclass(frozen=True, slots=True)
class ProbeBatch:
    """What VDGen's parts are measured on.

    Attributes:
        features: what ``vision.frozen`` gives; present: bool (B, N).
        report: tokens (B, T); mask: bool (B, T), where they are no padding.
        text: the teacher's report vectors (B, D_t).
    """

    features: Tensor
    present: Tensor
    report: Tensor
    mask: Tensor
    text: Tensor


def probes(network: VDGenNetwork, batch: ProbeBatch) -> Iterator[Probe]:
    """Probes of the parts that the configuration has; none of VSE and DID with fewer than three studies."""
    config, rows = network.config, batch.present.any(1)
    encoded = network.encode(batch.features, batch.present)
    h = _study_vectors(encoded, batch.present)
    if config.vse and rows.sum() > 2:
        similarity = network.vse.similarity(h[rows])
        seen = _study_vectors(network.vision.seen(batch.features, batch.present), batch.present)[rows]
        cosines = F.normalize(seen.float(), dim=-1) @ F.normalize(seen.float(), dim=-1).T
        before = _nearness(cosines / config.temperature)
        yield Probe("VSE", "log mean exp S_ij of two studies", _nearness(similarity), dead=before, alive=0.0)
    described = rows & (batch.mask.sum(1) > 1)
    if config.did and described.sum() > 2:
        z_image, z_text = network.did.aligned(h[described], batch.text[described])
        margin = _margin(z_image @ z_text.T)
        tenfold = config.temperature * math.log(10)  # the own report is ten times as likely as another one
        yield Probe("DID", "cosine with own minus with another report", margin, dead=0.0, alive=tenfold)
    yield Probe(
        "prompt",
        "loss with another image minus own, nats per token",
        _image_gain(network, encoded, batch),
        dead=0.0,
        alive=IMAGE_GAIN,
    )
    if config.adapt == "lora":
        yield Probe("LoRA", "norm of BA / norm of W", _lora_norm(network), dead=0.0, alive=LORA_NORM)


def _study_vectors(encoded: Tensor, present: Tensor) -> Tensor:
    """Means (B, D) of (B, N, S, D) over the positions of present views."""
    return mean_of(encoded.flatten(1, 2), present.repeat_interleave(encoded.shape[2], dim=1))


def _others(square: Tensor) -> Tensor:
    """What is off the diagonal of (n, n)."""
    return square[~torch.eye(len(square), dtype=torch.bool, device=square.device)]


def _nearness(similarity: Tensor) -> float:
    """log mean exp of the similarities (n, n) of different studies: 1/tau where all studies are one point."""
    others = _others(similarity)
    return float(torch.logsumexp(others, dim=0)) - math.log(len(others))


def _margin(cosines: Tensor) -> float:
    """Mean of the diagonal of (n, n) minus the mean off it."""
    return float(cosines.diagonal().mean() - _others(cosines).mean())


def _image_gain(network: VDGenNetwork, encoded: Tensor, batch: ProbeBatch) -> float:
    """How much the report's loss rises where each study has the images of the study before it."""
    size = network.config.training.batch_size  # what fits the memory in training
    total, count = 0.0, 0
    for start in range(0, len(encoded), size):
        part = slice(start, start + size)
        report, mask = batch.report[part], batch.mask[part]
        for shift, sign in ((1, 1.0), (0, -1.0)):
            images = encoded.roll(shift, 0)[part], batch.present.roll(shift, 0)[part]
            logits = network.logits(*images, report, mask).float()
            total += sign * float(F.cross_entropy(logits, report[mask], reduction="sum"))
        count += int(mask.sum())
    return total / count


def _lora_norm(network: VDGenNetwork) -> float:
    """Mean over the adapted matrices of |scale B A| / |W|, from r x r products."""
    norms = []
    for module in network.llm.modules():
        if hasattr(module, "lora_A") and len(module.lora_A):
            a, b = (getattr(module, name)["default"].weight.float() for name in ("lora_A", "lora_B"))
            update = ((b.T @ b) * (a @ a.T)).sum().clamp(min=0.0).sqrt() * module.scaling["default"]
            norms.append(float(update / module.base_layer.weight.float().norm()))
    return sum(norms) / len(norms)
