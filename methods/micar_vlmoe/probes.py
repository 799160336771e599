"""Vital signs of MicarVLMoE's parts: what the decoder takes from the image, and what its experts do."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.method.probes import Probe
from methods.common.text import PAD
from methods.micar_vlmoe.decoder import Decoder, Routes

WORTH = 0.05
"""Nats per word by which an image that is read lowers the cross-entropy, at least."""
MOVED = 0.2
"""Share of a word's expert weights that the absence of all views moves where experts depend on the image."""


@dataclass(frozen=True, slots=True)
class Reports:
    """Reports as a decoder reads them while it is probed.

    Attributes:
        indices: (B, S + 1), framed and padded.
    """

    decoder: Decoder
    indices: Tensor

    def read(self, image: Tensor, mask: Tensor) -> tuple[float, list[Routes]]:
        """Mean cross-entropy of a word given image tokens (B, T, E), bool (B, T), and the words' routes."""
        words = self.indices[:, :-1]
        logits, routes = self.decoder(words, image, mask, words != PAD)
        ce = F.cross_entropy(logits.float().flatten(0, 1), self.indices[:, 1:].flatten(), ignore_index=PAD)
        return float(ce), routes


def image_probes(reports: Reports, image: Tensor, mask: Tensor, views: int) -> Iterator[Probe]:
    """Whether the decoder reads the image, and where in a view it looks (Eq. 5)."""
    own, _ = reports.read(image, mask)
    if len(image) > 1:
        other, _ = reports.read(image.roll(1, 0), mask.roll(1, 0))
        what = "cross-entropy with another study's images minus with the own, nats per word"
        yield Probe("gated fusion", what, other - own, 0.0, WORTH)
    *patches, null = image.split([(image.shape[1] - 1) // views] * views + [1], dim=1)
    if patches[0].shape[1] > 1:
        means = [part.mean(1, keepdim=True).expand_as(part) for part in patches]
        blurred, _ = reports.read(torch.cat([*means, null], dim=1), mask)
        what = "cross-entropy with each view's mean patch minus with its patches, nats per word"
        yield Probe("MSVE patches", what, blurred - own, 0.0, WORTH)


def expert_probes(full: Sequence[Routes], blind: Sequence[Routes], top_k: int) -> Iterator[Probe]:
    """Whether the experts share the work and divide it by word and by modality state (Eq. 6).

    Args:
        full, blind: each decoder block's routes of the same words, with the images and without any.
        top_k: experts per word.
    """
    for number, (route, other) in enumerate(zip(full, blind, strict=True), 1):
        count, block = route.scores.shape[1], f"experts of block {number}"
        if top_k == count:
            continue
        load = route.experts.flatten().bincount(minlength=count).float()
        used = float(entropy(load / load.sum()).exp())
        yield Probe(block, "experts in use, perplexity of their load", used, float(top_k), float(count))
        told = float(entropy(route.scores.mean(0)) - entropy(route.scores).mean())
        yield Probe(block, "what a word tells of its expert, nats", told, 0.0, math.log(count / top_k))
        moved = float((route.scores - other.scores).abs().sum(1).mean() / 2)
        yield Probe(block, "share of a word's expert weights moved where no view is there", moved, 0.0, MOVED)


def entropy(shares: Tensor) -> Tensor:
    """Of shares (..., n), in nats."""
    return -(shares * shares.clamp(min=1e-9).log()).sum(-1)
