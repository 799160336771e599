"""``--impute``: test studies made whole, with a generated view in the place of the one that they lost.

The imputer sees no more of a study than the predicting method itself sees: the modalities that both read and
that remain, never the study's report, its labels or the lost view.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from harness.core.errors import HarnessError
from harness.core.progress import ShownAs
from harness.core.types import CONTEXT, DatasetInfo, Prediction, Study
from harness.evaluation.ask import Question, ask
from harness.evaluation.imputation import conditions
from harness.evaluation.requests import GenerateView
from harness.evaluation.trial import Trial


@dataclass(frozen=True, slots=True)
class CompletedState:
    """A modality state whose lost view is generated.

    Attributes:
        name: of the state's files in the predicting method's cell; it holds the imputer's label, preset,
            seed and fingerprint.
        conditions: modalities that the view is generated from.
        studies: test studies with a generated view in the place of the one they lost.
        left: number of test studies that keep some modality, but none of the conditions; they stay without.
    """

    name: str
    conditions: tuple[str, ...]
    studies: tuple[Study, ...]
    left: int


@dataclass(frozen=True, slots=True)
class Completion:
    """What ``--impute`` makes of the modality states of a trial.

    Attributes:
        states: modality state -> its completed studies; a state that stays as it is has no key.
        facts: what a manifest says of it; empty without an imputer.
        remark: what the row still lacks, in one line that names it; empty where nothing.
    """

    states: Mapping[str, CompletedState] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    remark: str = ""


def complete_states(trial: Trial) -> Completion:
    """Generate the lost views of every state that can be completed, or read what an earlier row generated.

    The imputer's cell is unlocked before the trial's own is locked: two runs that impute with each other's
    methods would wait for each other otherwise.
    """
    if trial.entry.imputer is None:
        return Completion()
    # Progress of the imputer's training shows at the row that waits for it.
    reporter = ShownAs(trial.reporter, trial.title)
    imputer = replace(trial, entry=trial.entry.imputer, reporter=reporter, shard=None)
    with imputer.cell.lock(trial.waiting):
        imputer.require_trained()
        states = {
            state: completed
            for state in trial.states
            if (completed := _complete_state(trial, imputer, state)) is not None
        }
    return Completion(states, _facts(trial, imputer, states), _remark(trial, states))


def _complete_state(trial: Trial, imputer: Trial, state: str) -> CompletedState | None:
    """The studies of one state with generated views; None where the state stays as it is.

    Images are kept in the imputer's cell, one file per view and set of conditions, so that all methods that
    see the same conditions see the same images. A study that lacks the view by nature is not completed.
    """
    assert trial.entry.imputer is not None
    label, info = trial.entry.imputer.label, trial.info
    sources = conditions(trial.entry, state, info)
    having_view = [study for study in trial.studies if state in study.images]
    reduced = [_reduced(study, sources) for study in having_view if sources is not None]
    askable = [study for study in reduced if study.modalities or not sources]
    if sources is None or not askable:
        return None
    file = f"imputed-{state}-from-{'+'.join(sources) or 'nothing'}"
    request = GenerateView(state, dict.fromkeys(study.id for study in askable), trial.seed)
    generated = ask(imputer, request, Question(file, askable, f"generate {state}", dropped=state))
    studies = tuple(
        _with_view(study, state, generated[study.id], label, info)
        for study in having_view
        if study.id in generated
    )
    left = sum(study.id not in generated and len(study.modalities) > 1 for study in having_view)
    return CompletedState(f"imputed-{label}-{imputer.cell.directory.name}-{state}", sources, studies, left)


def _reduced(study: Study, sources: Collection[str]) -> Study:
    """A study with nothing but these modalities."""
    return Study(
        study.id,
        study.patient_id,
        study.split,
        images={view: image for view, image in study.images.items() if view in sources},
        context=study.context if CONTEXT in sources else None,
    )


def _with_view(study: Study, view: str, prediction: Prediction, label: str, info: DatasetInfo) -> Study:
    """The study with its view replaced by the generated one."""
    image = (prediction.images or {})[view]
    shape = (info.image_size, info.image_size, info.channels)
    if image.shape != shape or image.dtype != np.uint8:
        raise HarnessError(
            f"{label}: the generated {view} of {study.id} is {image.dtype} {image.shape}, not uint8 {shape}"
        )
    return replace(study, images={**study.images, view: image})


def _remark(trial: Trial, states: Mapping[str, CompletedState]) -> str:
    untouched = [state for state in trial.states if state in trial.reads and state not in states]
    parts = [f"not generated, so missing as without it: {', '.join(untouched)}"] if untouched else []
    parts += [
        f"nothing to generate {state} from in {completed.left} studies, which stay without"
        for state, completed in states.items()
        if completed.left
    ]
    return f"{trial.entry.label}: {'; '.join(parts)}" if parts else ""


def _facts(trial: Trial, imputer: Trial, states: Mapping[str, CompletedState]) -> dict[str, Any]:
    assert trial.entry.imputer is not None
    by_state = {
        state: {"from": list(each.conditions), "studies": len(each.studies), "left": each.left}
        for state, each in states.items()
    }
    cell = str(imputer.cell.directory.relative_to(trial.benchmark.store.root))
    return {"imputed": {"by": trial.entry.imputer.label, "cell": cell, "states": by_state}}
