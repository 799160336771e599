"""What a synthesis run asks of a method: which modality to generate, and from what."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from harness.core.types import DatasetInfo, Inputs, Prediction, Reference, Study, Task
from harness.method.answers import checked_predictions
from harness.method.batching import study_seed
from harness.method.card import MethodCard
from harness.method.contract import Method

REPORT = "report"


def views(card: MethodCard, info: DatasetInfo) -> list[str]:
    """Image modalities that a method generates on a dataset; empty unless both declare the task."""
    if Task.SYNTHESIZE not in card.tasks & info.tasks:
        return []
    reads = info.read_by(card.reads)
    return [view for view in info.image_modalities if not card.learned or view in reads]


def reports_of(studies: Sequence[Study], donors: Mapping[str, Study] | None = None) -> dict[str, str | None]:
    """Study id to the report that is a condition: its own, or that of the study whose images it is shown."""
    return {study.id: (study if donors is None else donors[study.id]).report for study in studies}


def conditioned(
    inputs: Inputs, targets: Sequence[str], reports: Mapping[str, str | None], run_seed: int, state: str
) -> Inputs:
    """The batch as ``Method.synthesize`` gets it: the targets blanked, everything else a condition.

    Args:
        targets: image modalities or ``report``.
        reports: study id to report.
        run_seed, state: noise follows from these, the study's id and the targets.
    """
    kept = {view: view not in targets for view in inputs.images}
    texts = [None if REPORT in targets else reports[name] for name in inputs.ids]
    return replace(
        inputs,
        images={v: x if kept[v] else torch.zeros_like(x) for v, x in inputs.images.items()},
        present={n: x & kept.get(n, True) for n, x in inputs.present.items()},
        seeds=[study_seed(run_seed, name, f"{state}\0{'+'.join(targets)}") for name in inputs.ids],
        reports=texts,
    )


def generated(method: Method[Any], inputs: Inputs, targets: Sequence[str]) -> list[Prediction]:
    """``method.synthesize``, held to what it was asked for."""
    answers = checked_predictions(method, method.synthesize(inputs, targets), len(inputs), "synthesize")
    pictured = {name for name in targets if name != REPORT}
    for name, answer in zip(inputs.ids, answers, strict=True):
        if pictured - set(answer.images or {}) or (REPORT in targets and answer.report is None):
            raise ValueError(f"{method.card.name}: asked for {', '.join(targets)} of {name}, got less")
    return answers


def generates(card: MethodCard, info: DatasetInfo, targets: Sequence[str]) -> bool:
    """Whether a method generates every one of the targets on a dataset."""
    possible = {*views(card, info), *([REPORT] if Task.REPORT in card.tasks else [])}
    return possible.issuperset(targets)


def merged(parts: Sequence[Sequence[Prediction]]) -> list[Prediction]:
    """What was generated target by target, as one prediction per study."""
    whole = []
    for answers in zip(*parts, strict=True):
        images = {view: image for answer in answers for view, image in (answer.images or {}).items()}
        reports = [answer.report for answer in answers if answer.report is not None]
        whole.append(Prediction(report=reports[0] if reports else None, images=images or None))
    return whole


def joined(
    predictions: Mapping[str, Mapping[str, Prediction]], images: Mapping[str, Mapping[str, Prediction]]
) -> dict[str, dict[str, Prediction]]:
    """State -> study -> prediction with another modality's images among its own.

    What is the same object in two states stays so: nothing is computed twice of what a state does not change.
    """
    joint: dict[tuple[int, int], Prediction] = {}

    def with_images(old: Prediction, image: Prediction) -> Prediction:
        key = (id(old), id(image))
        if key not in joint:
            joint[key] = replace(old, images={**(old.images or {}), **(image.images or {})})
        return joint[key]

    return {
        state: {name: with_images(old, images[state][name]) for name, old in studies.items()}
        for state, studies in predictions.items()
    }


def completed(
    predictions: Sequence[Prediction], references: Sequence[Reference], lost: Collection[str]
) -> list[Prediction]:
    """A test set made whole: real images, and generated ones of the views that were lost."""
    return [
        replace(
            one,
            images={**(truth.images or {}), **{v: x for v, x in (one.images or {}).items() if v in lost}},
        )
        for one, truth in zip(predictions, references, strict=True)
    ]
