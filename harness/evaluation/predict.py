"""Every test study is asked about once per modality state.

A prediction depends on the modalities that are present and on nothing else of the protocol: any number of
missing rates and mask seeds needs one answer per study and state.
"""

from __future__ import annotations

from typing import TypeVar

from harness.core.types import Prediction
from harness.evaluation import synthesis
from harness.evaluation.ask import Question, ask
from harness.evaluation.completion import Completion
from harness.evaluation.requests import DrawReports, GenerateView, Predict, Request
from harness.evaluation.trial import Trial
from harness.missingness.policy import FULL

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
    reports = synthesis.reports_of(trial.studies, trial.donors)
    for view in synthesis.views(trial.entry.method_class.card, trial.info):
        generated = ask_states(trial, GenerateView(view, reports, trial.seed), completion)
        predictions = synthesis.joined(predictions, generated)
    return predictions


def ask_states(trial: Trial, request: Request[Answer], completion: Completion) -> StateAnswers[Answer]:
    """A request about every test study in every modality state that differs for the trial's method.

    A study that lacks a modality by nature, and every study where the method never reads the modality, is in
    its full state: the same answer object stands in both.
    """
    answers: StateAnswers[Answer] = {FULL: {}}
    for state in trial.states:
        lost = frozenset() if state == FULL else frozenset({state}) & trial.reads
        unchanged = {s.id for s in trial.studies if state != FULL and not lost & s.modalities}
        question = Question(
            file=request.prefix + trial.state_name(state),
            studies=[study for study in trial.studies if study.id not in unchanged],
            phase=f"{request.phase}{state}",
            dropped=None if state == FULL else state,
            donors=trial.donors,
        )
        answered = ask(trial, request, question)
        if state in completion.states:  # to the method, these are studies that lack nothing
            completed = completion.states[state]
            file = request.prefix + trial.state_name(completed.name)
            answered |= ask(
                trial, request, Question(file, completed.studies, f"{request.phase}{state}, completed")
            )
        shared = unchanged if trial.shard is None else unchanged & answers[FULL].keys()
        answers[state] = {**{study_id: answers[FULL][study_id] for study_id in shared}, **answered}
    return answers
