"""``--impute``: test studies made whole, with a generated view in the place of the one that they lost.

The imputer sees no more of a study than the predicting method itself sees: the modalities that both read and
that remain, never the study's report, its labels or the lost view.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from harness.core.errors import HarnessError
from harness.core.progress import ShownAs
from harness.core.types import CONTEXT, DatasetInfo, Prediction, Study
from harness.evaluation.ask import Question, ask
from harness.evaluation.imputation import conditions, generated_views
from harness.evaluation.requests import GenerateView
from harness.evaluation.trial import Trial
from harness.missingness.states import missing_in, state_of


@dataclass(frozen=True, slots=True)
class CompletedState:
    """A modality state whose lost views are generated.

    Attributes:
        name: of the state's files in the predicting method's cell; it holds the imputer's label, preset,
            seed and fingerprint.
        views: views that are generated.
        conditions: modalities that they are generated from.
        still_missing: name of the state that the completed studies are in.
        studies: test studies with generated views in the place of those they lost.
        left: number of test studies that keep some modality, but none of the conditions; they stay without.
    """

    name: str
    views: tuple[str, ...]
    conditions: tuple[str, ...]
    still_missing: str
    studies: tuple[Study, ...]
    left: int


@dataclass(frozen=True, slots=True)
class Completion:
    """What ``--impute`` makes of the modality states of a trial.

    Attributes:
        states: modality state -> its completed studies; a state that stays as it is has no key.
        imputer: label of the imputer; empty without one.
        cell: its folder below the store.
    """

    states: Mapping[str, CompletedState] = field(default_factory=dict)
    imputer: str = ""
    cell: str = ""

    def facts(self, states: Sequence[str]) -> dict[str, Any]:
        """What a manifest says of some modality states; empty without an imputer."""
        if not self.imputer:
            return {}
        by_state = {
            state: {"from": list(each.conditions), "studies": len(each.studies), "left": each.left}
            for state, each in self.states.items()
            if state in states
        }
        return {"imputed": {"by": self.imputer, "cell": self.cell, "states": by_state}}

    def remark(self, states: Sequence[str], reads: Collection[str]) -> str:
        """What a row still lacks in some modality states, in one line; empty where nothing.

        Args:
            states: names of modality states.
            reads: modalities that the predicting method reads.
        """
        if not self.imputer:
            return ""
        untouched = [state for state in states if missing_in(state) & set(reads) and state not in self.states]
        parts = [f"not generated, so missing as without it: {', '.join(untouched)}"] if untouched else []
        parts += [
            f"nothing to generate {' and '.join(each.views)} from in {each.left} studies, which stay without"
            for state, each in self.states.items()
            if each.left and state in states
        ]
        return "; ".join(parts)


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
    cell = str(imputer.cell.directory.relative_to(trial.benchmark.store.root))
    return Completion(states, trial.entry.imputer.label, cell)


def _complete_state(trial: Trial, imputer: Trial, state: str) -> CompletedState | None:
    """The studies of one state with generated views; None where the state stays as it is.

    A view that a study lacks by nature is not generated.
    """
    assert trial.entry.imputer is not None
    label, info = trial.entry.imputer.label, trial.info
    views = generated_views(trial.entry, state, info)
    sources = conditions(trial.entry, state, info)
    generated = {view: _generate(trial, imputer, view, sources) for view in views}
    losing = [study for study in trial.studies if study.images.keys() & views]
    completed: dict[str, Study] = {}
    for study in losing:
        own = {view: answers[study.id] for view, answers in generated.items() if study.id in answers}
        if own:
            completed[study.id] = _with_views(study, own, label, info)
    if not completed:
        return None
    return CompletedState(
        name=f"imputed-{label}-{imputer.cell.directory.name}-{state}",
        views=views,
        conditions=sources,
        still_missing=state_of(missing_in(state) - set(views), info.modalities),
        studies=tuple(completed.values()),
        left=sum(
            study.id not in completed and bool(study.modalities - missing_in(state)) for study in losing
        ),
    )


def _generate(trial: Trial, imputer: Trial, view: str, sources: Sequence[str]) -> dict[str, Prediction]:
    """Study id -> a view, generated for each study that has it, from the modalities that are its sources.

    Images are kept in the imputer's cell, one file per view and set of sources, so that all methods and
    states with the same sources see the same images.
    """
    reduced = [_reduced(study, sources) for study in trial.studies if view in study.images]
    askable = [study for study in reduced if study.modalities or not sources]
    if not askable:
        return {}
    file = f"imputed-{view}-from-{'+'.join(sources) or 'nothing'}"
    request = GenerateView(view, dict.fromkeys(study.id for study in askable), trial.seed)
    return ask(imputer, request, Question(file, askable, f"generate {view}", state=view))


def _reduced(study: Study, sources: Collection[str]) -> Study:
    """A study with nothing but these modalities."""
    return Study(
        study.id,
        study.patient_id,
        study.split,
        images={view: image for view, image in study.images.items() if view in sources},
        context=study.context if CONTEXT in sources else None,
    )


def _with_views(study: Study, generated: Mapping[str, Prediction], label: str, info: DatasetInfo) -> Study:
    """The study with views replaced by generated ones."""
    shape = (info.image_size, info.image_size, info.channels)
    images = {view: (prediction.images or {})[view] for view, prediction in generated.items()}
    for view, image in images.items():
        if image.shape != shape or image.dtype != np.uint8:
            raise HarnessError(
                f"{label}: the generated {view} of {study.id} is {image.dtype} {image.shape}, "
                f"not uint8 {shape}"
            )
    return replace(study, images={**study.images, **images})
