"""Scores of generated reports as what chooses an epoch (``training.monitor=text``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.core.errors import HarnessError
from harness.core.types import Inputs, Prediction, Reference, Targets, Task
from harness.distributed.process_group import process_group
from harness.metrics.base import Statistics
from harness.metrics.text.bleu import Bleu
from harness.metrics.text.rouge import RougeScoreL


class TextScore:
    """Half the mean of BLEU-1 to BLEU-4 and half ROUGE-L (rouge-score's F1) over validation studies.

    MicarVLMoE's released code monitors these two and METEOR, which needs WordNet. Studies without a report do
    not count. With several processes the sums of all of them make the score.

    Raises:
        HarnessError: what is trained writes no reports, or its parameters are spread over processes.
    """

    def __init__(self, trainable: Any) -> None:
        card = getattr(trainable, "card", None)
        if card is None or Task.REPORT not in card.tasks or not hasattr(trainable, "generate"):
            raise HarnessError(
                f"training.monitor=text: {trainable.name} writes no reports while it trains",
                "use training.monitor=loss",
            )
        if process_group().shards:
            raise HarnessError("training.monitor=text: not with --strategy fsdp", "use --strategy ddp")
        self.trainable = trainable
        self.metrics = (Bleu(trainable.info.tokenizer), RougeScoreL())
        self.clear()

    def clear(self) -> None:
        """Start a new epoch."""
        self.totals: list[Statistics | None] = [None for _ in self.metrics]

    def add(self, inputs: Inputs, targets: Targets, weight: float) -> None:
        """Write reports about a batch and add their statistics, ``weight`` times (0 or 1)."""
        written = self.trainable.generate(inputs)
        pairs = [
            (prediction, Reference(name, name, report))
            for name, prediction, report in zip(inputs.ids, written, targets.reports, strict=True)
            if report
        ]
        self._add([prediction for prediction, _ in pairs], [reference for _, reference in pairs], weight)

    def _add(self, written: Sequence[Prediction], references: Sequence[Reference], weight: float) -> None:
        for number, metric in enumerate(self.metrics):
            rows = metric.statistics(written, references).sum(axis=0) * weight
            before = self.totals[number]
            self.totals[number] = rows if before is None else before + rows

    def value(self) -> float:
        """The score of all studies since ``clear``; 0 where no study had a report."""
        values = []
        for metric, totals in zip(self.metrics, self.totals, strict=True):
            sums = np.array(process_group().total(*(totals if totals is not None else ())))
            reduced = metric.reduce(sums) if len(sums) else {}
            values.append(
                float(np.mean([reduced[output.name] for output in metric.outputs])) if reduced else 0.0
            )
        return float(np.mean(values))
