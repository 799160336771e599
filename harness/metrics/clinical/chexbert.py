"""F1 of the labels that CheXbert gives to both texts (Smit et al. 2020).

The forward pass is our own, batched, on the checkpoint that the package ``f1chexbert`` uses; the tests hold
its labels against that package's. The checkpoint's licence forbids shipping it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import CorruptFileError, UnavailableError
from harness.core.packages import absent, lacking
from harness.core.weights import ALLOW_DOWNLOADS, downloads_allowed
from harness.metrics.annotation_cache import annotated
from harness.metrics.base import MetricOutput
from harness.metrics.clinical.labels import (
    LABELS,
    Classes,
    LabelF1,
    LabelPrecisionRecall,
    label_outputs,
    precision_recall_outputs,
)
from harness.metrics.common_labels import signature_part
from harness.metrics.pretrained import hub_file, padded, token_batches, weights_digest
from harness.metrics.text.characters import NORM, plain_characters

if TYPE_CHECKING:
    from torch import Tensor

FOLDER = "HARNESS_CHEXBERT"
CHECKPOINT = "chexbert.pth"
REPOSITORY = "StanfordAIMI/RRG_scorers"
BERT = "bert-base-uncased"
MAX_TOKENS = 512
CLASSES_PER_HEAD = (4,) * (len(LABELS) - 1) + (2,)
"""No Finding is blank or positive; the others are blank, positive, negative or uncertain."""


class ChexbertF1(LabelF1):
    """F1 of the 14 CheXpert observations as CheXbert finds them in both texts.

    Args:
        uncertain: what an uncertain label counts as: ``positive`` (as in ``f1chexbert``), ``negative`` or
            ``ignored``.
    """

    name: ClassVar[str] = "chexbert_f1"
    language: ClassVar[str | None] = "en"
    region: ClassVar[str | None] = "chest"
    outputs: tuple[MetricOutput, ...] = label_outputs("chexbert_f1")
    by_default: ClassVar[bool] = False  # 104 s for 590 pairs at BERT's size on one core

    @property
    def signature(self) -> str:
        """Identity of the numbers; ``weights`` is a digest of the checkpoint."""
        rules = f"uncertain:{self.policy}|{signature_part(None)}|{NORM}"
        return f"{self.name}|{rules}|weights:{self._digest}|impl:f1chexbert|v:2"

    def unavailable(self) -> str | None:
        """One line if a package or the weights are absent."""
        return lacking_files(self.name)

    def classes(self, texts: Sequence[str]) -> Classes:
        """Classes int8 (n, 14) of the texts, from the cache where it has them.

        Raises:
            UnavailableError: the weights are absent.
        """
        if self._digest == "absent":
            _ = self._labeler  # fetches the weights, or says what to do: the cache is keyed by their digest
        classes = annotated(f"chexbert|weights:{self._digest}|v:1", texts, self._label)
        return np.array(classes, dtype=np.int8).reshape(len(texts), len(LABELS))

    def cut(self, texts: Sequence[str]) -> tuple[int, list[bool]]:
        """Which texts have more tokens than BERT reads."""
        return longer(texts)

    def _label(self, texts: list[str]) -> list[list[int]]:
        return self._labeler(texts).tolist()

    @property
    def _digest(self) -> str:
        return checkpoint_digest()

    @cached_property
    def _labeler(self) -> Labeler:
        return load(self.name)


class ChexbertPrecisionRecall(LabelPrecisionRecall, ChexbertF1):
    """Precision and recall of the labels of ``chexbert_f1``."""

    name: ClassVar[str] = "chexbert_pr"
    outputs: tuple[MetricOutput, ...] = precision_recall_outputs("chexbert_pr")


@dataclass(frozen=True, slots=True)
class Files:
    """Where the checkpoint is, and the folder with BERT's configuration and vocabulary."""

    checkpoint: Path
    bert: Path


def find_files(download: bool = False) -> Files | None:
    """The files in ``$HARNESS_CHEXBERT``, in the cache folder of f1chexbert or in Hugging Face's, or None."""
    named = os.environ.get(FOLDER)
    if not named and absent("appdirs"):
        return None
    folder = Path(named) if named else _package_folder()
    checkpoint: Path | None = folder / CHECKPOINT
    if not (folder / CHECKPOINT).is_file():
        checkpoint = None if named else hub_file(REPOSITORY, CHECKPOINT, download)
    bert = _bert_folder(folder, download)
    return Files(checkpoint, bert) if checkpoint and bert else None


def lacking_files(metric: str) -> str | None:
    """One line of advice for a metric if a package or the weights are absent; None if it can run."""
    if (reason := lacking("clinical", "torch", "transformers")) is not None:
        return reason
    if downloads_allowed() or find_files() is not None:
        return None
    return (
        f"{CHECKPOINT} and {BERT} not found ({metric}): set {FOLDER} to a folder with {CHECKPOINT}, "
        f"config.json and vocab.txt, or {ALLOW_DOWNLOADS}=1"
    )


def checkpoint_digest() -> str:
    """Digest of the checkpoint for signatures, ``absent`` where there is none."""
    files = find_files()
    return weights_digest(files.checkpoint) if files else "absent"


def longer(texts: Sequence[str]) -> tuple[int, list[bool]]:
    """The most tokens that the model reads, and which of ``texts`` have more."""
    files = find_files()
    if files is None or max(map(len, texts), default=0) <= MAX_TOKENS - 2:
        return MAX_TOKENS, []
    words = bert_tokenizer(files.bert)
    lines = [" ".join(plain_characters(text).split()) for text in texts]
    limits = {"add_special_tokens": False, "truncation": True, "max_length": MAX_TOKENS - 1}
    return MAX_TOKENS, [len(words(line, **limits)["input_ids"]) > MAX_TOKENS - 2 for line in lines]


def load(metric: str) -> Labeler:
    """The model, fetched first where downloads are allowed.

    Raises:
        UnavailableError: a package or the weights are absent; the message names ``metric``.
    """
    files = find_files(download=downloads_allowed())
    if files is None:
        raise UnavailableError.of(lacking_files(metric) or f"{CHECKPOINT} not found")
    return Labeler(files)


def _package_folder() -> Path:
    """f1chexbert's own cache folder, as appdirs gives it to that package."""
    from appdirs import user_cache_dir

    return Path(user_cache_dir("chexbert"))


def _bert_folder(folder: Path, download: bool) -> Path | None:
    for candidate in (folder, folder / BERT):
        if (candidate / "config.json").is_file() and (candidate / "vocab.txt").is_file():
            return candidate
    config, vocabulary = (hub_file(BERT, name, download) for name in ("config.json", "vocab.txt"))
    return config.parent if config and vocabulary else None


def bert_tokenizer(folder: Path) -> Any:
    """BERT's tokeniser from a folder with its vocabulary."""
    from transformers import BertTokenizer

    return BertTokenizer.from_pretrained(folder)


class Labeler:
    """CheXbert: a BERT whose first vector feeds one linear head per observation.

    Raises:
        CorruptFileError: the checkpoint lacks tensors of this architecture.
    """

    def __init__(self, files: Files) -> None:
        import torch
        from transformers import AutoConfig, BertModel

        self._torch = torch
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._tokenizer = bert_tokenizer(files.bert)
        weights = _tensors(files.checkpoint)
        config = AutoConfig.from_pretrained(files.bert)
        self._bert = cast("Any", BertModel(config, add_pooling_layer=False))
        bert = {
            name.removeprefix("bert."): value for name, value in weights.items() if name.startswith("bert.")
        }
        lacking = self._bert.load_state_dict(bert, strict=False).missing_keys
        heads = [[f"linear_heads.{i}.{part}" for i in range(len(LABELS))] for part in ("weight", "bias")]
        lacking += [name for names in heads for name in names if name not in weights]
        if lacking:
            raise CorruptFileError(
                f"{files.checkpoint}: no tensor {lacking[0]}", "is it CheXbert's checkpoint?"
            )
        self._weight, self._bias = (torch.cat([weights[n] for n in names]).to(self.device) for names in heads)
        self._bert.to(self.device).eval()

    def __call__(self, texts: Sequence[str]) -> Classes:
        """Classes int8 (n, 14)."""
        classes = np.zeros((len(texts), len(LABELS)), dtype=np.int8)
        for indices, first in self._batches(texts):
            with self._torch.inference_mode():
                logits = self._torch.nn.functional.linear(first, self._weight, self._bias)
            parts = logits.split(CLASSES_PER_HEAD, dim=1)
            classes[indices] = self._torch.stack([part.argmax(dim=1) for part in parts], dim=1).cpu().numpy()
        return classes

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """What the heads read of each text, the last layer at [CLS]: float32 (n, hidden size)."""
        vectors = np.zeros((len(texts), self._weight.shape[1]), dtype=np.float32)
        for indices, first in self._batches(texts):
            vectors[indices] = first.cpu().numpy()
        return vectors

    def _batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Tensor]]:
        """Places of texts of like length, and their vectors at [CLS]."""
        ids = [self._ids(text) for text in texts]
        for indices in token_batches([len(line) for line in ids]):
            yield indices, self._first([ids[index] for index in indices])

    def _ids(self, text: str) -> list[int]:
        """Token ids in [CLS] and [SEP]; a text that is too long loses its end, not the [SEP]."""
        ids = self._tokenizer(" ".join(text.split()), add_special_tokens=False)["input_ids"]
        return [self._tokenizer.cls_token_id, *ids[: MAX_TOKENS - 2], self._tokenizer.sep_token_id]

    def _first(self, lines: list[list[int]]) -> Tensor:
        ids, mask = padded(lines, 0, self.device)
        with self._torch.inference_mode():
            hidden: Tensor = self._bert(ids, attention_mask=mask)[0]
            return hidden[:, 0]


def _tensors(path: Path) -> dict[str, Any]:
    """The checkpoint's tensors without the prefix of data-parallel training."""
    from pickle import UnpicklingError

    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)["model_state_dict"]
    except (KeyError, RuntimeError, EOFError, ValueError, UnpicklingError) as error:
        raise CorruptFileError(f"{path}: no CheXbert checkpoint", "download it again") from error
    return {name.replace("module.", ""): value for name, value in state.items()}
