"""Language models that judge a report: a question per distinct pair, answers read strictly and kept on disk.

An answer that cannot be read is no 0: its study does not enter the score, and the share of such answers is a
number of its own. The cache holds numbers alone; a killed run goes on with the first batch that has none.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import require
from harness.core.types import Prediction, Reference, Task
from harness.metrics.annotation_cache import annotated, pair
from harness.metrics.base import Metric, MetricOutput, Statistics
from harness.metrics.judges.model import BATCH, JudgeFolder, Writer
from harness.metrics.text.base import report_texts


class UnreadableAnswerError(ValueError):
    """An answer is not in the form that was asked for; the message holds nothing of the answer."""


class Judge(Metric):
    """What all judges share. Statistics are the values of a read answer, then ``[read, unread]``.

    Attributes:
        folder: where the model is.
    """

    task: ClassVar[Task] = Task.REPORT
    group = "report findings"
    by_default: ClassVar[bool] = False
    on_request: ClassVar[bool] = True  # seconds per study on a GPU
    language: ClassVar[str | None] = "en"

    folder: ClassVar[JudgeFolder]
    outputs: tuple[MetricOutput, ...]

    @property
    @abstractmethod
    def details(self) -> str:
        """Parts of the signature that are the judge's own."""

    @abstractmethod
    def writer(self) -> Writer:
        """The model of the folder."""

    @abstractmethod
    def read(self, answer: str) -> list[float]:
        """The values of an answer, one per output but the last.

        Raises:
            UnreadableAnswerError: it is not in the form that was asked for.
        """

    def question(self, candidate: str, reference: Reference) -> tuple[str, str, str]:
        """Reference, candidate and context as the prompt gets them."""
        return reference.report or "", candidate, ""

    @property
    def signature(self) -> str:
        """Identity of the numbers: model, weights, prompt, decoding."""
        return f"{self.name}|{self.folder.identity}|{self.details}|impl:harness|v:1"

    def unavailable(self) -> str | None:
        """One line if the model or its prompt is absent."""
        return self.folder.unavailable()

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """Values of the answers, read and unread, float64 (n_studies, k).

        Raises:
            UnavailableError: the model or its prompt is absent.
        """
        candidates, _ = report_texts(predictions, references)
        width = len(self.outputs) + 1
        if not candidates:
            return np.zeros((0, width))
        require(self.unavailable())
        questions = [self.question(*both) for both in zip(candidates, references, strict=True)]
        prompts = {pair(pair(*each[:2]), each[2]): self.folder.prompt(*each) for each in questions}
        shortest_first = sorted(prompts, key=lambda key: len(prompts[key]))
        values = annotated(
            self.signature, shortest_first, lambda keys: self._ask([prompts[key] for key in keys]), BATCH
        )
        of = dict(zip(shortest_first, values, strict=True))
        rows = np.zeros((len(questions), width))
        for row, each in zip(rows, questions, strict=True):
            value = of[pair(pair(*each[:2]), each[2])]
            if value is None:
                row[-1] = 1.0
            else:
                row[:-2], row[-2] = value, 1.0
        return rows

    def _ask(self, prompts: Sequence[str]) -> list[list[float] | None]:
        texts = self._writer.texts(self.folder.system, prompts)
        return [self._read(answer) for answer in self._writer.answers(texts)]

    def _read(self, answer: str) -> list[float] | None:
        try:
            return self.read(answer)
        except UnreadableAnswerError:
            return None

    @cached_property
    def _writer(self) -> Writer:
        return self.writer()

    def reduce(self, totals: Statistics) -> dict[str, NDArray[np.float64]]:
        """Means over read answers (...), NaN without one; and the share of unread ones."""
        read, unread = totals[..., -2], totals[..., -1]
        asked = read + unread
        values: dict[str, NDArray[Any]] = {
            output.name: np.divide(totals[..., place], read, out=np.full_like(read, np.nan), where=read > 0)
            for place, output in enumerate(self.outputs[:-1])
        }
        share = np.divide(unread, asked, out=np.full_like(read, np.nan), where=asked > 0)
        return values | {self.outputs[-1].name: share}

    def remarks(self, statistics: Statistics) -> dict[str, str]:
        """How many answers could not be read."""
        unread = int(statistics[:, -1].sum())
        if not unread:
            return {}
        line = (
            f"{unread} of {len(statistics)} answers could not be read: their studies do not enter the score"
        )
        return {self.outputs[0].name: line}
