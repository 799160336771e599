"""The official MicarVLMoE beside ours, for ``harness bench methods``: same size, same work, random weights.

Nothing of it is shipped. Its clone needs the packages einops and rotary-embedding-torch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from methods.common.generation import Decoding

FOLDER = "micar-vl-moe"
SOURCE = "https://github.com/AI-14/micar-vl-moe"
WORKS = ("vision encoder", "decode", "training step")
WORDS = 60
BEAMS = 3


def ours(method: Any, batch: int) -> Mapping[str, Callable[[], Any]]:
    """Pieces of work of a prepared method; ``decode`` starts from image tokens."""
    inputs, targets = method.example_batch(batch)
    device = next(method.network.parameters()).device
    inputs, targets = inputs.to(device), targets.to(device)
    optimizer, _ = method.optimizer(1)
    (view,) = inputs.images.values()
    present = torch.ones(batch, 1, dtype=torch.bool, device=device)
    vision = method.network.vision

    def encode() -> None:
        method.network.eval()
        with torch.inference_mode():
            vision(vision.trunk(view[:, None], present), present)

    def decode() -> Tensor:
        method.network.eval()
        with torch.inference_mode():
            side = method.config.grid**2
            tokens = torch.randn(batch, side, method.config.width, device=device)
            mask = torch.ones(batch, side, dtype=torch.bool, device=device)
            limit = min(WORDS, method.config.report_words + 1)
            return method.search(tokens, mask, Decoding(limit, beams=BEAMS))

    def step() -> None:
        method.network.train()
        method.losses(inputs, targets)["loss"].backward()
        optimizer.step()

    return dict(zip(WORKS, (encode, decode, step), strict=True))


def official(method: Any, folder: Path, batch: int, device: str) -> Mapping[str, Callable[[], Any]]:
    """The same pieces of work of the clone in ``folder``, at the size of ``method``'s configuration."""
    import torchvision

    # It would download ImageNet weights; speed does not depend on them.
    torchvision.models.resnet101 = partial(_untrained, torchvision.models.resnet101)
    sys.path.insert(0, str(folder))
    models, settings = import_module("architecture.models"), import_module("configs.cfg")

    vocabulary = len(method.reference_artifacts()["words"]) + 4
    model = models.CaptionModel(settings.Configs(), vocabulary).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), amsgrad=True)
    image = torch.zeros(batch, 3, method.config.image_size, method.config.image_size, device=device)
    words = torch.randint(4, vocabulary, (batch, WORDS), device=device)

    def encode() -> None:
        model.eval()
        with torch.inference_mode():
            model.vis_enc(image)

    def decode() -> Tensor:
        model.eval()
        side = method.config.grid**2
        model.vis_enc, model.proj, model.encoder = nn.Identity(), nn.Identity(), nn.Identity()
        with torch.inference_mode():
            tokens = torch.randn(batch, side, method.config.width, device=device)
            return model.beam_search(tokens, 1, 2, 0, BEAMS, WORDS)

    def step() -> None:
        model.train()
        logits, balance = model(image, words, torch.ones_like(words))
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), words.flatten()) + 0.01 * balance
        loss.backward()
        optimizer.step()

    return dict(zip(WORKS, (encode, decode, step), strict=True))


def _untrained(build: Callable[..., nn.Module], weights: object = None) -> nn.Module:
    return build(weights=None)
