"""A method under audit: asked through the protocol alone, and its answers compared."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from harness.audits.noise import EXACT, Tolerance
from harness.audits.verbatim import NOTHING, Hidden
from harness.audits.watch import Touches, watching
from harness.core.types import DatasetInfo, Inputs, Prediction, Study
from harness.datasets.base import Dataset
from harness.evaluation import synthesis
from harness.evaluation.entries import Entry
from harness.method.batching import collate
from harness.method.contract import FitRun, Method

BATCH = 16
DRAWS = 2
LEVELS = 1
"""Largest difference of a pixel, of 255."""

Answers = dict[str, Prediction]
"""Study id -> prediction. Drawn reports and generated views stand under ``ID, drawn reports`` and so on."""


@dataclass(frozen=True)
class Case:
    """What all methods of an audit share.

    Attributes:
        files: those that hold the data (``watch.data_files``).
        folder: scratch space.
        seed: of training and prediction.
        store: results store whose checkpoints are asked again, or None.
        opened: all files that were opened for the dataset.
        unseen: reports that no file of a method may hold.
    """

    dataset: Dataset
    files: frozenset[str]
    train: Sequence[Study]
    val: Sequence[Study]
    test: Sequence[Study]
    preset: str
    device: str
    folder: Path
    seed: int = 0
    store: Path | None = None
    opened: frozenset[str] = frozenset()
    unseen: Hidden = NOTHING

    @cached_property
    def reports(self) -> dict[str, str | None]:
        """The reports that views are generated from, as they were before a check changed any target."""
        return synthesis.reports_of(self.test)

    @property
    def info(self) -> DatasetInfo:
        """What a method may know about the dataset."""
        return self.dataset.info


class Subject:
    """One method: trained, reloaded and asked as often as the checks need it."""

    def __init__(self, case: Case, entry: Entry) -> None:
        self.case, self.entry = case, entry
        self.card = entry.method_class.card
        self.method: Method[Any] = self._new()
        _ = case.reports  # read before anything is changed
        self.touches = Touches()
        self.replayed: dict[str, str] = {}
        self.tolerance = EXACT
        self.modules = frozenset(sys.modules)
        self.sources: dict[str, str] = {}

    @property
    def reads(self) -> frozenset[str]:
        """The dataset's modalities that the method reads."""
        return self.case.info.read_by(self.card.reads)

    def _new(self) -> Method[Any]:
        entry, case = self.entry, self.case
        return entry.method_class.create(
            case.info, variant=entry.variant, preset=case.preset, overrides=entry.overrides
        )

    def fit(self, seed: int, progress: Any, *, poisoned: bool) -> tuple[Method[Any], Touches]:
        """A new instance, trained; ``poisoned`` test studies raise when they are read."""
        method = self._new()
        with TemporaryDirectory(dir=self.case.folder) as folder:
            run = FitRun(Path(folder), self.case.device, seed, progress)
            with watching(self.case.dataset, self.case.files, raises=poisoned) as touches:
                try:
                    method.fit(self.case.train, self.case.val, run)
                except (Exception, SystemExit):
                    if not (poisoned and touches.fields):
                        raise
        self.touches.opened |= touches.opened
        return method.to(self.case.device), touches

    def reloaded(self) -> Method[Any]:
        """The trained method as another process would load it."""
        with TemporaryDirectory(dir=self.case.folder) as folder:
            self.method.save(Path(folder))
            fresh = self._new()
            fresh.load(Path(folder))
        return fresh.to(self.case.device)

    def inputs(self, studies: Sequence[Study], dropped: str | None = None, seed: int | None = None) -> Inputs:
        """A batch as the harness makes it."""
        run_seed = self.case.seed if seed is None else seed
        return collate(studies, self.case.info, reads=self.card.reads, dropped=dropped, run_seed=run_seed)

    def copies(self, study: Study, count: int) -> list[Prediction]:
        """Predictions about copies of a study in one batch."""
        return self.method.predict(self.inputs([study] * count))

    def ask(self, inputs: Inputs, method: Method[Any] | None = None) -> Answers:
        """Predictions for one batch, drawn reports and generated views where the card says that there are."""
        asked = method or self.method
        answers = dict(zip(inputs.ids, asked.predict(inputs), strict=True))
        if self.card.samples:
            drawn = asked.sample(inputs, DRAWS)
            texts = zip(inputs.ids, drawn, strict=True)
            answers |= {f"{name}, drawn reports": Prediction(report="\n".join(own)) for name, own in texts}
        for view in synthesis.views(self.card, self.case.info):
            reports = {name: self.case.reports.get(name) for name in inputs.ids}
            conditions = synthesis.conditioned(inputs, [view], reports, self.case.seed, "audit")
            generated = zip(inputs.ids, synthesis.generated(asked, conditions, [view]), strict=True)
            answers |= {f"{name}, generated {view}": answer for name, answer in generated}
        return answers

    def predict(
        self,
        studies: Sequence[Study] | None = None,
        *,
        dropped: str | None = None,
        size: int = BATCH,
        method: Method[Any] | None = None,
    ) -> Answers:
        """Answers about studies, in batches of ``size``; what is reached for meanwhile is noted."""
        answers: Answers = {}
        with watching(self.case.dataset, self.case.files) as touches:
            for batch in batches(self.case.test if studies is None else studies, size):
                answers |= self.ask(self.inputs(batch, dropped), method)
        self.touches.fields += touches.fields
        self.touches.files += touches.files
        self.touches.opened |= touches.opened
        return answers


def batches(studies: Sequence[Study], size: int) -> Iterator[Sequence[Study]]:
    """Studies in their order, ``size`` at a time."""
    for start in range(0, len(studies), size):
        yield studies[start : start + size]


def copied(inputs: Inputs) -> Inputs:
    """The same batch in memory of its own."""
    return Inputs(
        list(inputs.ids),
        {name: tensor.clone() for name, tensor in inputs.images.items()},
        list(inputs.context),
        {name: tensor.clone() for name, tensor in inputs.present.items()},
        list(inputs.seeds),
    )


def same_inputs(one: Inputs, other: Inputs) -> bool:
    """Two batches hold the same content, bit by bit."""
    tensors = all(
        torch.equal(tensor, right[name])
        for left, right in ((one.images, other.images), (one.present, other.present))
        for name, tensor in left.items()
    )
    return tensors and one.context == other.context and one.ids == other.ids and one.seeds == other.seeds


def first_difference(
    before: Answers, after: Answers, labels: Sequence[str], tolerance: Tolerance = EXACT
) -> str:
    """``study X: ...`` for the first answer of ``after`` that is not the one of ``before``; empty if none.

    Reports are not quoted: verdicts leave the machine that the data may not leave.
    """
    turned = sum(before[name].report != answer.report for name, answer in after.items())
    too_many = turned > tolerance.reports * len(after)
    for name, answer in after.items():
        own = answer if too_many else replace(answer, report=before[name].report)
        difference = _difference(before[name], own, labels, tolerance.probabilities)
        if difference:
            return f"study {name}: {difference}"
    return ""


def _difference(one: Prediction, other: Prediction, labels: Sequence[str], most: float) -> str:
    if one.report != other.report:
        words = [(prediction.report or "").split() for prediction in (one, other)]
        pairs = zip(*words, strict=False)
        place = next((at for at, (a, b) in enumerate(pairs, 1) if a != b), min(map(len, words)) + 1)
        return f"the report changed from word {place} on"
    if (one.probabilities is None) != (other.probabilities is None):
        return "probabilities are there once and not again"
    if one.probabilities is not None and other.probabilities is not None:
        gap = np.abs(np.asarray(one.probabilities) - np.asarray(other.probabilities))
        if not (gap <= most).all():
            place = int(np.argmax(np.nan_to_num(gap, nan=np.inf)))
            name = labels[place] if place < len(labels) else str(place)
            before, after = float(one.probabilities[place]), float(other.probabilities[place])
            return f"the probability of {name} went from {before:.6f} to {after:.6f}"
    return _image_difference(one.images or {}, other.images or {})


def _image_difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    if set(one) != set(other):
        return "other images were generated"
    for view, pixels in one.items():
        gap = np.abs(pixels.astype(np.int16) - other[view].astype(np.int16)).max()
        if gap > LEVELS:
            return f"the generated {view} image changed by up to {gap} of 255 levels"
    return ""


def spread(before: Answers, after: Answers) -> str:
    """How far two trainings lie apart: share of other reports, mean difference of probabilities."""
    reports = [name for name, answer in before.items() if answer.report is not None and ", " not in name]
    parts = []
    if reports:
        others = sum(before[name].report != after[name].report for name in reports)
        parts.append(f"{others} of {len(reports)} reports differ")
    gaps = [
        np.abs(np.asarray(answer.probabilities) - np.asarray(after[name].probabilities)).mean()
        for name, answer in before.items()
        if answer.probabilities is not None and after[name].probabilities is not None
    ]
    if gaps:
        parts.append(f"probabilities differ by {np.mean(gaps):.4f} on average")
    return ", ".join(parts) or "nothing to compare"
