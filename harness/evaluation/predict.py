"""Every test study is asked about once per modality state.

A prediction depends on the modalities that are present and on nothing else of the protocol: any number of
missing rates and mask seeds needs one answer per study and state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from harness.core.errors import UnavailableError
from harness.core.types import JointPrediction, Prediction, Reference, Study
from harness.evaluation import synthesis
from harness.evaluation.ask import Question, ask
from harness.evaluation.completion import Completion
from harness.evaluation.requests import DrawReports, GenerateSeveral, GenerateView, Predict, Request
from harness.evaluation.trial import Trial
from harness.metrics.diagnosis.decisions import Diagnosis
from harness.metrics.diagnosis.temperature import best_temperature, scaled
from harness.missingness.corrupted import corrupted_state
from harness.missingness.states import FULL

Answer = TypeVar("Answer")

StateAnswers = dict[str, dict[str, Answer]]
"""Modality state -> study id -> answer."""


def predict(trial: Trial, completion: Completion) -> StateAnswers[Prediction]:
    """Reports and probabilities, and an image of each view that the method generates.

    With ``--report-samples`` a method that only writes reports has probabilities, too: the share of its drawn
    reports that state a finding.
    """
    predictions = ask_states(trial, Predict(), completion)
    samples = trial.benchmark.samples
    if samples is not None and trial.draws_reports:
        drawn = ask_states(trial, DrawReports(samples.draws), completion)
        predictions = {state: samples.add(predictions[state], reports) for state, reports in drawn.items()}
    if trial.entry.temperature:
        return _at_temperature(predictions, fitted_temperature(trial), trial.info.multilabel)
    reports = synthesis.reports_of(trial.studies, trial.donors)
    for view in synthesis.views(trial.entry.method_class.card, trial.info):
        generated = ask_states(trial, GenerateView(view, reports, trial.seed), completion)
        predictions = synthesis.joined(predictions, generated)
    return predictions


def fitted_temperature(trial: Trial) -> float:
    """The temperature of the method's probabilities, chosen on validation studies.

    Raises:
        UnavailableError: no validation study has labels.
    """
    if not validation_studies(trial):
        raise UnavailableError(
            f"{trial.entry.label}: no validation study has labels to choose a temperature on"
        )
    predictions, references = _validation(trial)
    probabilities, labels = Diagnosis(trial.info.multilabel).arrays(predictions, references)
    return best_temperature(probabilities, labels, trial.info.multilabel)


def _at_temperature(
    predictions: StateAnswers[Prediction], temperature: float, multilabel: bool
) -> StateAnswers[Prediction]:
    """Probabilities alone, with logits divided by the temperature; equal answers stay one object."""
    rescaled: dict[int, Prediction] = {}
    for by_study in predictions.values():
        for answer in by_study.values():
            if id(answer) not in rescaled:
                own = np.asarray(answer.probabilities, dtype=np.float64)[None]
                rescaled[id(answer)] = Prediction(probabilities=scaled(own, temperature, multilabel)[0])
    return {
        state: {name: rescaled[id(answer)] for name, answer in by_study.items()}
        for state, by_study in predictions.items()
    }


def predict_validation(trial: Trial) -> tuple[list[Prediction], list[Reference]]:
    """Predictions for the validation studies that have labels, with nothing missing, and their truth.

    The row on other studies' images shares those of its method: what is chosen on them is the method's.
    """
    predictions, truth = _validation(trial)
    if not trial.entry.temperature:
        return predictions, truth
    by_study = {reference.id: each for reference, each in zip(truth, predictions, strict=True)}
    rescaled = _at_temperature({FULL: by_study}, fitted_temperature(trial), trial.info.multilabel)[FULL]
    return [rescaled[reference.id] for reference in truth], truth


def _validation(trial: Trial) -> tuple[list[Prediction], list[Reference]]:
    """The same as the method gives them, before any temperature."""
    studies = validation_studies(trial)
    answers = ask(trial, Predict(), Question(f"validation-{FULL}", studies, "predict validation studies"))
    truth = [Reference(study.id, study.patient_id, study.report, study.labels) for study in studies]
    return [answers[study.id] for study in studies], truth


def generate_jointly(trial: Trial, targets: tuple[str, ...]) -> dict[str, JointPrediction]:
    """Several modalities of every test study from the rest of it, together and one by one."""
    reports = synthesis.reports_of(trial.studies, trial.donors)
    ways = []
    for together in (True, False):
        request = GenerateSeveral(targets, together, reports, trial.seed)
        file, phase = request.prefix + trial.state_name(FULL), f"{request.phase}{FULL}"
        ways.append(ask(trial, request, Question(file, trial.studies, phase, donors=trial.donors)))
    joint, apart = ways
    return {
        name: JointPrediction(report=each.report, images=each.images, apart=apart[name])
        for name, each in joint.items()
    }


def _question(trial: Trial, request: Request[Answer], lost: str, studies: Sequence[Study]) -> Question:
    """About studies in one state. To the method, corrupted studies are whole studies with other content."""
    file, phase = request.prefix + trial.state_name(lost), f"{request.phase}{lost}"
    corrupted = corrupted_state(lost)
    if corrupted is not None:
        return Question(file, [corrupted.applied(study) for study in studies], phase)
    return Question(file, studies, phase, state=lost, donors=trial.donors)


def ask_states(trial: Trial, request: Request[Answer], completion: Completion) -> StateAnswers[Answer]:
    """A request about every test study in every modality state that differs for the trial's method.

    A study's answer depends on what it really loses of what the method reads (``Trial.losses``). States that
    take the same from a study share one answer object; where they take nothing it is that of ``full``.
    """
    studies: dict[str, dict[str, Study]] = {FULL: {}}
    for state in trial.states:
        for study in trial.studies:
            studies.setdefault(trial.losses[state][study.id], {})[study.id] = study
    distinct = {
        lost: ask(trial, request, _question(trial, request, lost, list(losing.values())))
        for lost, losing in studies.items()
    }
    answers: StateAnswers[Answer] = {}
    for state in trial.states:
        by_study = ((study.id, distinct[trial.losses[state][study.id]]) for study in trial.studies)
        # A shard of the studies has only their answers.
        answers[state] = {name: answered[name] for name, answered in by_study if name in answered}
        if state in completion.states:  # to the method, these are studies that lack less
            completed = completion.states[state]
            question = Question(
                file=request.prefix + trial.state_name(completed.name),
                studies=completed.studies,
                phase=f"{request.phase}{state}, completed",
                state=completed.still_missing,
            )
            answers[state] |= ask(trial, request, question)
    return answers


def validation_studies(trial: Trial) -> list[Study]:
    """The validation studies that have labels."""
    return [study for study in trial.benchmark.splits["val"] if study.labels is not None]
