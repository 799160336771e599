"""BERTScores whose model is fixed: RadEval's, and what it shares with that of RadCliQ-v1."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from harness.metrics.base import MetricOutput
from harness.metrics.learned.model_folder import ModelFolder
from harness.metrics.text.bertscore import GreedyMatching
from harness.metrics.text.characters import NORM


class FolderBertScore(GreedyMatching):
    """Base of BERTScores of one published model.

    Attributes:
        files: where the model is.
    """

    files: ClassVar[ModelFolder]
    on_request: ClassVar[bool] = True

    def unavailable(self) -> str | None:
        """Why there is no model, or None."""
        return self.files.lacking(self.name)

    def _file(self) -> Path | None:
        return self.files.weights()

    def _weights(self) -> str:
        return str(self.files.fetched(self.name))


class RadevalBertScore(FolderBertScore):
    """Mean over studies of the BERTScore F1 of RadEvalModernBERT, its last layer, as RadEval has it.

    ``HARNESS_RADEVAL_BERT`` is the model's folder; otherwise it comes from the Hugging Face cache. No idf
    weights, no rescaling; texts are read whole, up to 8,192 tokens. Statistics are ``[F1, 1]``.
    """

    name: ClassVar[str] = "radeval_bertscore"
    outputs: tuple[MetricOutput, ...] = (MetricOutput("radeval_bertscore_f1"),)
    files = ModelFolder("HARNESS_RADEVAL_BERT", "", "IAMJB/RadEvalModernBERT")
    model = "RadEvalModernBERT"
    layer = 22
    max_tokens: ClassVar[int] = 8192

    @property
    def signature(self) -> str:
        """Identity of the numbers; ``weights`` is a digest of the model."""
        return (
            f"{self.name}|model:{self.model}|weights:{self._digest}|layer:{self.layer}|idf:0|rescale:0"
            f"|max:{self.max_tokens}|{NORM}|impl:bert-score|v:1"
        )
