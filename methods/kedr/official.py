"""The official KEDR beside ours, for ``harness bench methods``: same size, same work, random weights.

Nothing of it is shipped. Its clone needs the packages POT and termcolor. It is written for a GPU; on a CPU
its moves to one are left out.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torchvision
import transformers
from torch import Tensor, nn

FOLDER = "KEDR"
SOURCE = "https://github.com/lijing-coder/KEDR"
WORKS = ("training step", "inference")
CLASSES = 5


def ours(method: Any, batch: int) -> Mapping[str, Callable[[], Any]]:
    """Pieces of work of a prepared method."""
    inputs, targets = method.example_batch(batch)
    device = next(method.network.parameters()).device
    inputs, targets = inputs.to(device), targets.to(device)
    inputs.images = {name: torch.rand_like(images) for name, images in inputs.images.items()}
    optimizer, _ = method.optimizer(1)

    def step() -> None:
        method.network.train()
        method.losses(inputs, targets)["loss"].backward()
        optimizer.step()

    return dict(zip(WORKS, (step, lambda: method.predict(inputs)), strict=True))


def official(method: Any, folder: Path, batch: int, device: str) -> Mapping[str, Callable[[], Any]]:
    """The same pieces of work of the clone in ``folder``, at the size of ``method``'s configuration."""
    tokens = len(method.reference_artifacts()["tokens"][0])
    bert = transformers.BertModel(transformers.BertConfig(vocab_size=28996))
    offline = [
        mock.patch.dict(os.environ),
        mock.patch.object(sys, "path", [str(folder), *sys.path]),
        mock.patch.object(torchvision.models, "resnet50", partial(_untrained, torchvision.models.resnet50)),
        mock.patch.object(transformers.AutoModel, "from_pretrained", return_value=bert),
        mock.patch.object(transformers.AutoTokenizer, "from_pretrained", return_value=_Tokenizer(tokens)),
    ]
    with _patched(offline), _on(device):
        net = import_module("model.KEDR").FusionNet(CLASSES, 0.0, "SPC").to(device)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-5)
    side = method.config.image_size
    images = [torch.rand(batch, 3, side, side, device=device) for _ in range(2)]
    labels = torch.arange(batch, device=device) % CLASSES

    def step() -> None:
        net.train()
        with _on(device):
            logits, _, disentangle, confidence, *_ = net(images, labels, False)
            (nn.functional.cross_entropy(logits, labels) + disentangle + confidence).backward()
        optimizer.step()

    def infer() -> None:
        net.eval()
        with torch.no_grad(), _on(device):
            net(images, labels, False)

    return dict(zip(WORKS, (step, infer), strict=True))


class _Tokenizer:
    """Texts of one length, whatever they say: BioClinicalBERT's vocabulary need not be available."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens

    def __call__(self, texts: list[str], **options: Any) -> dict[str, Tensor]:
        ids = torch.arange(1, self.tokens + 1).expand(len(texts), -1)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _on(device: str) -> AbstractContextManager[None]:
    """On a CPU without the clone's moves to a GPU."""
    if device.startswith("cuda"):
        return nullcontext()
    return _patched(
        [
            mock.patch.object(nn.Module, "cuda", lambda module, *rest: module),
            mock.patch.object(Tensor, "cuda", lambda tensor, *rest: tensor),
            mock.patch.object(torch.cuda, "synchronize", return_value=None),
        ]
    )


@contextmanager
def _patched(patches: Sequence[Any]) -> Iterator[None]:
    with ExitStack() as stack:
        for patch in patches:
            stack.enter_context(patch)
        yield


def _untrained(build: Callable[..., nn.Module], pretrained: bool = False) -> nn.Module:
    return build(weights=None)
