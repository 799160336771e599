"""Asking a trained method about studies in one modality state: in batches, resumable by study.

Which studies share a batch follows from the studies of the question alone, wherever a killed run ended and
however many processes answer: the last digits of a prediction depend on the batch.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import torch

from harness.core.files import clear_disk_errors
from harness.core.printed import printed_into
from harness.core.progress import Progress
from harness.core.types import Inputs, Study
from harness.evaluation.fit import kept
from harness.evaluation.requests import Request
from harness.evaluation.trial import Trial
from harness.evaluation.used import note_used
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
        PluginError: the method broke its contract.
    """
    file = AnswerFile(trial.cell.predictions(question.file), request.codec, trial.cell.checkpoint_digest)
    asking = _Asking(trial, request, question, trial.phase(question.phase))
    with kept(trial.entry.method_class):
        return asking.complete(file) if trial.shard is None else asking.complete_shard(file, trial.shard)


@dataclass(frozen=True, slots=True)
class _Batch(Generic[Answer]):
    """Answers of one call of a method, those that were there already left out, and what they cost."""

    answers: dict[str, Answer]
    timing: Timing


@dataclass(slots=True)
class _Memory:
    """How many studies fit the device at a time, as far as it has shown."""

    batch_size: int


@dataclass(frozen=True)
class _Asking(Generic[Answer]):
    """The arguments of ``ask``, where its progress goes, and what fits the device."""

    trial: Trial
    request: Request[Answer]
    question: Question
    progress: Progress
    memory: _Memory = field(default_factory=lambda: _Memory(BATCH_SIZE))

    def complete(self, file: AnswerFile[Answer]) -> dict[str, Answer]:
        """Ask about the studies that neither the file nor the files of its shards have; seal the file."""
        studies = self.question.studies
        answers = file.sound()
        if answers is not None:
            if set(answers) >= {study.id for study in studies}:
                file.remove_shards()
                return answers
            file.unseal(len(answers))
        answers = file.begun()
        batches = self._planned(file.complete_for(answers))
        with ExitStack() as locks:
            of_shards, timing = file.of_shards(locks)
            with file.appending() as append:
                for studies_of_batch in batches:
                    left = [study.id for study in studies_of_batch if study.id not in answers]
                    taken_over = {name: of_shards[name] for name in left if name in of_shards}
                    append(taken_over)
                    answers |= taken_over
                    for batch in self._asked(studies_of_batch, answers):
                        append(batch.answers)
                        answers |= batch.answers
                        timing += batch.timing
                        self._report(len(answers), len(studies), batch.timing)
            self._note_used()
            self.trial.cell.used.take_over_shards()
            file.seal()
        if timing.studies:
            file.keep_timing(timing)
        file.remove_shards()
        return answers

    def complete_shard(self, file: AnswerFile[Answer], shard: Shard) -> dict[str, Answer]:
        """Ask about a shard of the batches, as far as no file has their answers."""
        own = file.shard(shard)
        stored = file.peek()
        batches = self._planned(file.complete_for(stored))[shard.number :: shard.count]
        total = sum(map(len, batches))
        timing = Timing()
        with clear_disk_errors(own.path):
            own.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with own.lock:
                answers = stored | own.begun()
                if not all(study.id in answers for batch in batches for study in batch):
                    with own.appending() as append:
                        for studies in batches:
                            for batch in self._asked(studies, answers):
                                append(batch.answers)
                                answers |= batch.answers
                                timing += batch.timing
                                self._report(len(answers), total, batch.timing)
                    self._note_used()
                    own.keep_timing(timing)
        return {study.id: answers[study.id] for batch in batches for study in batch}

    def _note_used(self) -> None:
        if "method" in vars(self.trial):  # it was loaded, for something was asked
            note_used(self.trial, self.trial.method)

    def _planned(self, done: Collection[str]) -> Sequence[Sequence[Study]]:
        """The studies of each batch. Contexts of like length share one: less padding.

        Args:
            done: studies whose answers an earlier run of fewer studies has sealed; they are not asked again.
        """
        left = (study for study in self.question.studies if study.id not in done)
        ordered = sorted(left, key=lambda study: (len(study.context or ""), study.id))
        return [ordered[start : start + BATCH_SIZE] for start in range(0, len(ordered), BATCH_SIZE)]

    def _asked(self, studies: Sequence[Study], answered: Collection[str]) -> Iterator[_Batch[Answer]]:
        """Call the method about a batch, unless all of it is answered.

        Where the device runs out of memory, the rest of the file is asked half as many studies at a time.
        """
        if all(study.id in answered for study in studies):
            return
        start, method = 0, self.trial.method
        while start < len(studies):
            batch_size = self.memory.batch_size
            batch = studies[start : start + batch_size]
            inputs = self._inputs(method, batch)
            started = time.perf_counter()
            try:
                with printed_into(self.trial.cell.output):
                    answers = self.request(method, inputs, self.question.state)
            except torch.OutOfMemoryError:
                if batch_size == 1:
                    raise
                self.memory.batch_size = max(1, batch_size // 2)
                torch.cuda.empty_cache()
                continue
            seconds = time.perf_counter() - started
            halved = batch_size if batch_size < BATCH_SIZE else None
            by_study = {
                study.id: answer
                for study, answer in zip(batch, answers, strict=True)
                if study.id not in answered
            }
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
