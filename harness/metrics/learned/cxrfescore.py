"""CXRFEScore (Messina et al. 2024): the facts of two reports, compared by vectors.

A T5 writes the facts of each sentence as a list; a CXR-BERT embeds them. Both are loaded by our own code:
nothing that lies beside the weights is executed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import CorruptFileError, require
from harness.core.types import Prediction, Reference, Task
from harness.core.weights import quiet_loading
from harness.metrics.annotation_cache import annotated_pairs
from harness.metrics.base import Metric, MetricOutput, Statistics, mean_of
from harness.metrics.learned.model_folder import ModelFolder
from harness.metrics.learned.sentences import sentences_of
from harness.metrics.pretrained import Recurring, padded, token_batches
from harness.metrics.text.base import plain_report_texts
from harness.metrics.text.characters import NORM

if TYPE_CHECKING:
    from torch import Tensor

FOLDER = "HARNESS_CXRFE"
MAX_TOKENS = 512
LONGEST_REPEAT = 8

Vector = NDArray[np.float32]


class CxrfeScore(Metric):
    """Mean over studies of the two-sided mean of each fact's largest cosine with a fact of the other text.

    ``HARNESS_CXRFE`` is a folder with the models ``extractor`` (T5FactExtractor) and ``encoder`` (CXRFE);
    otherwise they come from the Hugging Face cache. A text without facts scores 0. Statistics are
    ``[score, 1]``.
    """

    name: ClassVar[str] = "cxrfescore"
    task: ClassVar[Task] = Task.REPORT
    group = "report findings"
    best_by: ClassVar[str] = "columns"
    outputs: tuple[MetricOutput, ...] = (MetricOutput("cxrfescore", bounds=(-1.0, 1.0)),)
    language: ClassVar[str | None] = "en"
    region: ClassVar[str | None] = "chest"
    by_default: ClassVar[bool] = False
    on_request: ClassVar[bool] = True

    extractor = ModelFolder(FOLDER, "extractor", "pamessina/T5FactExtractor")
    encoder = ModelFolder(FOLDER, "encoder", "pamessina/CXRFE")

    @property
    def signature(self) -> str:
        """Identity of the numbers; ``weights`` are digests of both models."""
        digests = f"{self.extractor.digest}-{self.encoder.digest}"
        return f"{self.name}|split:harness|{NORM}|weights:{digests}|impl:cxrfescore|v:1"

    def unavailable(self) -> str | None:
        """One line if a package or a model is absent."""
        return self.extractor.lacking(self.name) or self.encoder.lacking(self.name)

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """Score and 1 per study, float64 (n_studies, 2).

        Raises:
            UnavailableError: a model is absent.
        """
        hypotheses, targets = plain_report_texts(predictions, references)
        require(self.unavailable())
        for model in (self.extractor, self.encoder):
            model.fetched(self.name)  # the cache is keyed by their digests
        statistics = np.ones((len(hypotheses), 2))
        statistics[:, 0] = annotated_pairs(self.signature, hypotheses, targets, self._scores)
        return statistics

    def reduce(self, totals: Statistics) -> dict[str, NDArray[np.float64]]:
        """Summed statistics (..., 2) to the mean score (...)."""
        return {self.name: mean_of(totals)}

    def _scores(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        split = {text: sentences_of(text) for both in pairs for text in both}
        lists = self._facts(sentence for sentences in split.values() for sentence in sentences)
        facts = {
            text: list(dict.fromkeys(fact for sentence in sentences for fact in lists[sentence]))
            for text, sentences in split.items()
        }
        vectors = self._vectors(fact for each in facts.values() for fact in each)
        sides = {text: np.stack([vectors[fact] for fact in each]) for text, each in facts.items() if each}
        return [soft_matching(sides.get(ours), sides.get(theirs)) for ours, theirs in pairs]

    @cached_property
    def _facts(self) -> Recurring[list[str]]:
        """Facts of each sentence; they are text of a report, and stay in memory."""
        return Recurring(FactExtractor(self.extractor.fetched(self.name)), lambda facts: len(str(facts)))

    @cached_property
    def _vectors(self) -> Recurring[Vector]:
        return Recurring(FactEncoder(self.encoder.fetched(self.name)), lambda vector: vector.nbytes)


def soft_matching(first: NDArray[np.floating] | None, second: NDArray[np.floating] | None) -> float:
    """Mean of both sides' mean largest cosine, of vectors (n, D) and (m, D); 0 where a side has none."""
    if first is None or second is None:
        return 0.0
    ours, theirs = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (first, second))
    cosines = ours @ theirs.T
    return float(np.clip((cosines.max(axis=1).mean() + cosines.max(axis=0).mean()) / 2, -1.0, 1.0))


class FactExtractor:
    """A T5 that rewrites a sentence as a list of facts, greedily.

    Args:
        folder: of the model and its tokenizer.
    """

    def __init__(self, folder: Path) -> None:
        import torch
        from transformers import AutoTokenizer, T5ForConditionalGeneration

        with quiet_loading():
            model: Any = T5ForConditionalGeneration.from_pretrained(
                folder, local_files_only=True, dtype=torch.float32
            )
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model.eval().to(self.device)

    def __call__(self, sentences: list[str]) -> list[list[str]]:
        """Facts of each sentence; the sentence itself where the model writes no list."""
        import torch

        ids = self.tokenizer(sentences)["input_ids"]
        facts: dict[int, list[str]] = {}
        for places in token_batches([len(line) for line in ids]):
            batch = [ids[place] for place in places]
            lines, mask = padded(batch, self.tokenizer.pad_token_id, self.device)
            with torch.inference_mode():
                written = self.model.generate(
                    input_ids=lines,
                    attention_mask=mask,
                    max_new_tokens=4 * lines.shape[1],
                    num_beams=1,
                    do_sample=False,
                )
            for place, line, output in zip(places, batch, written.tolist(), strict=True):
                # As long as the sentence alone may become: neighbours in a batch change no fact.
                text = self.tokenizer.decode(output[: 1 + 4 * len(line)], skip_special_tokens=True)
                facts[place] = facts_in(text) or [sentences[place]]
        return [facts[place] for place in range(len(sentences))]


_STRINGS = r'"(?:[^"\\]|\\.)+"'
_LIST = re.compile(rf"\[\s*{_STRINGS}(?:\s*,\s*{_STRINGS})*")


def facts_in(text: str) -> list[str]:
    """The facts of a written list of strings, each once; a list that breaks off counts up to there."""
    match = _LIST.search(text)
    if match is None:
        return []
    try:
        facts = json.loads(match.group() + "]", strict=False)
    except json.JSONDecodeError:
        return []
    clean = (without_repeats(fact).strip() for fact in facts)
    return list(dict.fromkeys(fact for fact in clean if fact))


def without_repeats(text: str) -> str:
    """A text without runs of up to eight words that repeat the words just before them."""
    words = text.split()
    for length in range(1, LONGEST_REPEAT + 1):
        lower = [word.lower() for word in words]
        again: set[int] = set()
        for start in range(length, len(words) - length + 1):
            if lower[start : start + length] == lower[start - length : start]:
                again.update(range(start, start + length))
        words = [word for place, word in enumerate(words) if place not in again]
    return " ".join(words)


class FactEncoder:
    """CXR-BERT: a BERT whose vector at [CLS] goes through a head of two layers.

    Args:
        folder: with the model's configuration, weights and vocabulary.

    Raises:
        CorruptFileError: the weights lack tensors of this architecture.
    """

    def __init__(self, folder: Path) -> None:
        import torch
        from transformers import BertConfig, BertModel, BertTokenizer

        facts = json.loads((folder / "config.json").read_text())
        for field in ("model_type", "auto_map", "architectures"):
            facts.pop(field, None)
        weights = _tensors(folder)
        self.tokenizer: Any = BertTokenizer.from_pretrained(folder)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        bert: Any = BertModel(BertConfig(**facts), add_pooling_layer=False)
        hidden, size = bert.config.hidden_size, facts.get("projection_size", 128)
        head = torch.nn.ModuleDict(
            {
                "dense_to_hidden": torch.nn.Linear(hidden, size),
                "LayerNorm": torch.nn.LayerNorm(size, eps=1e-12),
                "dense_to_output": torch.nn.Linear(size, size),
            }
        )
        for module, prefix in ((bert, "bert."), (head, "cls_projection_head.")):
            own = {
                name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)
            }
            if lacking := module.load_state_dict(own, strict=False).missing_keys:
                raise CorruptFileError(f"{folder}: no tensor {prefix}{lacking[0]}", "is it a CXR-BERT?")
        self.bert, self.head = (module.eval().to(self.device) for module in (bert, head))

    def __call__(self, texts: list[str]) -> list[Vector]:
        """A vector of each text; texts of like length share a batch."""
        import torch

        ids = self.tokenizer(texts, truncation=True, max_length=MAX_TOKENS)["input_ids"]
        vectors: dict[int, Vector] = {}
        for places in token_batches([len(line) for line in ids]):
            lines, mask = padded([ids[place] for place in places], self.tokenizer.pad_token_id, self.device)
            with torch.inference_mode():
                first: Tensor = self.bert(lines, attention_mask=mask)[0][:, 0]
                hidden = self.head["LayerNorm"](torch.nn.functional.gelu(self.head["dense_to_hidden"](first)))
                projected = self.head["dense_to_output"](hidden)
            vectors |= zip(places, projected.cpu().numpy(), strict=True)
        return [vectors[place] for place in range(len(texts))]


def _tensors(folder: Path) -> dict[str, Tensor]:
    if (folder / "model.safetensors").is_file():
        from safetensors.torch import load_file

        return load_file(folder / "model.safetensors")
    import torch

    tensors: dict[str, Tensor] = torch.load(
        folder / "pytorch_model.bin", map_location="cpu", weights_only=True
    )
    return tensors
