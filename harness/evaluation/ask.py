"""Asking a trained method about studies in one modality state: in batches, resumable by study."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch

from harness.core.errors import HarnessError
from harness.core.files import clear_disk_errors
from harness.core.progress import Progress
from harness.core.types import Inputs, Study
from harness.evaluation.requests import Request
from harness.evaluation.trial import Trial
from harness.method.batching import collate
from harness.method.contract import Method
from harness.missingness.states import FULL
from harness.store.predictions import AnswerFile, Shard, Timing

Answer = TypeVar("Answer")

BATCH_SIZE = 64
"""Studies per call; halved for the rest of a file where the device runs out of memory."""


@dataclass(frozen=True, slots=True)
class Question:
    """Which studies a method is asked about, and in which modality state.

    Attributes:
        file: name of the answers' file in the cell.
        studies: test studies.
        phase: what progress shows.
        state: name of the modality state.
        donors: study id -> the study whose images are shown instead (shuffled-image control), or None.
    """

    file: str
    studies: Sequence[Study]
    phase: str
    state: str = FULL
    donors: Mapping[str, Study] | None = None


def ask(trial: Trial, request: Request[Answer], question: Question) -> dict[str, Answer]:
    """The answers about every study of a question, from the store where it has them.

    A batch of answers is on disk before the next one is asked for: a killed run loses one batch at most.

    Args:
        trial: its cell keeps the answers; its method is loaded only if a study has none. With a ``shard``
            only these studies are asked about, into a file of their own.
        request: what is asked.
        question: about which studies, in which state.

    Returns:
        Study id -> answer.

    Raises:
        HarnessError: the method gave another number of answers than it got studies.
        CorruptFileError: a file of answers is damaged.
    """
    file = AnswerFile(trial.cell.predictions(question.file), request.codec)
    asking = _Asking(trial, request, question, trial.phase(question.phase))
    return asking.complete(file) if trial.shard is None else asking.complete_shard(file, trial.shard)


@dataclass(frozen=True, slots=True)
class _Batch(Generic[Answer]):
    """Answers of one call of a method, and what they cost."""

    answers: dict[str, Answer]
    timing: Timing


@dataclass(frozen=True, slots=True)
class _Asking(Generic[Answer]):
    """The arguments of ``ask``, and where its progress goes."""

    trial: Trial
    request: Request[Answer]
    question: Question
    progress: Progress

    def complete(self, file: AnswerFile[Answer]) -> dict[str, Answer]:
        """Ask about the studies that neither the file nor the files of its shards have; seal the file."""
        studies = self.question.studies
        answers = file.sealed()
        if answers is not None:
            if set(answers) >= {study.id for study in studies}:
                file.remove_shards()
                return answers
            file.unseal()
        answers = file.read()
        with ExitStack() as locks:
            of_shards, timing = file.of_shards(locks)
            # Contexts of like length share a batch: less padding. The order cannot change a prediction.
            left = sorted(
                (study for study in studies if study.id not in answers),
                key=lambda study: (len(study.context or ""), study.id),
            )
            with file.appending() as append:
                taken_over = {study.id: of_shards[study.id] for study in left if study.id in of_shards}
                append(taken_over)
                answers |= taken_over
                pending = [study for study in left if study.id not in taken_over]
                for batch in self._batches(pending):
                    append(batch.answers)
                    answers |= batch.answers
                    timing += batch.timing
                    self._report(len(answers), len(studies), batch.timing)
            file.seal()
        if timing.studies:
            file.keep_timing(timing)
        file.remove_shards()
        return answers

    def complete_shard(self, file: AnswerFile[Answer], shard: Shard) -> dict[str, Answer]:
        """Ask about a shard of the studies, as far as no file has them."""
        own = file.shard(shard)
        studies = self.question.studies[shard.number :: shard.count]
        timing = Timing()
        with clear_disk_errors(own.path):
            own.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with own.lock:
                answers = file.peek() | own.read()
                pending = [study for study in studies if study.id not in answers]
                if pending:
                    with own.appending() as append:
                        for batch in self._batches(pending):
                            append(batch.answers)
                            answers |= batch.answers
                            timing += batch.timing
                            self._report(len(answers), len(studies), batch.timing)
                    own.keep_timing(timing)
        return {study.id: answers[study.id] for study in studies}

    def _batches(self, pending: Sequence[Study]) -> Iterator[_Batch[Answer]]:
        """Call the method, with half as many studies at a time where its device runs out of memory."""
        start, batch_size = 0, BATCH_SIZE
        if not pending:
            return
        method = self.trial.method
        while start < len(pending):
            batch = pending[start : start + batch_size]
            inputs = self._inputs(method, batch)
            started = time.perf_counter()
            try:
                answers = self.request(method, inputs, self.question.state)
            except torch.OutOfMemoryError:
                if batch_size == 1:
                    raise
                batch_size = max(1, batch_size // 2)
                torch.cuda.empty_cache()
                continue
            seconds = time.perf_counter() - started
            if len(answers) != len(batch):
                raise HarnessError(
                    f"{method.card.name}: {len(answers)} predictions for a batch of {len(batch)} studies",
                    "predict must return one prediction per study, in order",
                )
            halved = batch_size if batch_size < BATCH_SIZE else None
            by_study = {study.id: answer for study, answer in zip(batch, answers, strict=True)}
            yield _Batch(by_study, Timing(seconds, len(batch), halved))
            start += len(batch)

    def _inputs(self, method: Method[Any], studies: Sequence[Study]) -> Inputs:
        return collate(
            studies,
            self.trial.info,
            reads=method.card.reads,
            dropped=self.question.state,
            run_seed=self.trial.seed,
            donors=self.question.donors,
        )

    def _report(self, answered: int, total: int, timing: Timing) -> None:
        halved = "" if timing.batch_size is None else f", out of memory: {timing.batch_size} at a time"
        self.progress(answered / total, f"{answered}/{total} studies{halved}")
