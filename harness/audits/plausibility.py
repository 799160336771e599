"""Answers that no reading of images and texts explains.

The other checks change what a method gets. This one looks at what it says: reports word by word as their
authors wrote them, and answers that fit a study though its images and its text were another one's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from harness.audits.breach import Breach
from harness.audits.differences import Answers
from harness.audits.question import Question
from harness.audits.replay import StoredRun, stored_runs
from harness.audits.subject import Subject
from harness.core.types import CONTEXT, Prediction, Study
from harness.missingness.states import FULL
from harness.store.cell import Cell
from harness.store.predictions import PREDICTIONS, AnswerFile

_SHARE = 0.2
_FEW = 3
"""Test reports that a method writes word by word only if it has them: so many, and this share of those that
training never showed."""
_SIGMAS = 6.0
_GAP = 0.05
"""How much better answers fit their own study than any other one, where chance does not explain it."""
_LEAST = 16
"""Studies without which a fit says nothing."""


def plausible(subject: Subject, base: Answers) -> str:
    """Answers are no copies of references, and follow from images and texts, not from a study's name."""
    _no_copies(subject, base, "")
    foreign = _foreign(subject.case.test)
    with subject.loaded() as asked:
        answers = subject.predictions(asked, Question(list(foreign.values())))
    _no_fit(answers, subject.case.test, "its images and its text were another study's")
    notes, runs = set[str](), 0
    for run in stored_runs(subject):
        runs += 1
        where = f", in a run with seed {run.seed}"
        _no_copies(subject, _stored(run, FULL), where)
        lost, change = FULL, "its images were another study's"
        if CONTEXT in subject.reads:
            lost, change = CONTEXT, f"{change} and it had no text"
        _no_fit(_stored(run, f"shuffled-{lost}"), subject.case.dataset.studies("test"), change + where)
        notes |= _same_rows(run)
    line = f"{len(foreign)} answers on other studies' images and texts do not fit; {runs} runs looked at"
    return "; ".join([line, *sorted(notes)])


def _no_copies(subject: Subject, answers: Mapping[str, Prediction], where: str) -> None:
    hidden = subject.case.unseen
    texts = [answer.report for answer in answers.values() if answer.report]
    copies = len(hidden.in_texts(texts))
    if copies >= max(_FEW, _SHARE * min(hidden.reports, len(texts))):
        raise Breach(f"{copies} of {len(texts)} reports are those of test studies, word by word{where}")


def _foreign(studies: Sequence[Study]) -> dict[str, Study]:
    """Study id -> another study under this id."""
    half = len(studies) // 2
    others = [*studies[half:], *studies[:half]]
    return {own.id: replace(other, id=own.id) for own, other in zip(studies, others, strict=True)}


def _no_fit(answers: Mapping[str, Prediction], studies: Sequence[Study], change: str) -> None:
    answered = [study for study in studies if study.id in answers]
    own, sigmas, others = fit([answers[study.id] for study in answered], answered)
    if sigmas >= _SIGMAS and own - others >= _GAP:
        measure = f"{own:.2f}; others {others:.2f}, {sigmas:.0f} standard errors"
        raise Breach(f"answers fit their own study ({measure}), when {change}")


def fit(answers: Sequence[Prediction], studies: Sequence[Study]) -> tuple[float, float, float]:
    """How well answers fit their study, by how many standard errors better than others, and how well others.

    The fit of reports is the share of their words that both have, of probabilities one less the mean error.
    The standard error is the spread over assignments in which every study has the answer of the one that lies
    a fixed number of places off.
    """
    if len(studies) < _LEAST:
        return 0.0, 0.0, 0.0
    both = _words_fit(answers, studies), _labels_fit(answers, studies)
    fits = [each for each in both if each is not None]
    if not fits:
        return 0.0, 0.0, 0.0
    table = np.mean(fits, axis=0)
    count = len(table)
    rows = np.arange(count)
    means = np.array([table[rows, (rows + shift) % count].mean() for shift in range(count)])
    others, error = float(means[1:].mean()), float(means[1:].std())
    return float(means[0]), float(means[0] - others) / error if error > 1e-9 else 0.0, others


def _words_fit(answers: Sequence[Prediction], studies: Sequence[Study]) -> NDArray[np.float64] | None:
    """Words that answer i and reference j have in common, of all that they have (n, n)."""
    if any(answer.report is None for answer in answers) or not any(study.report for study in studies):
        return None
    number: dict[str, int] = {}
    texts = [*(answer.report or "" for answer in answers), *(study.report or "" for study in studies)]
    sets = [{number.setdefault(word, len(number)) for word in _words(text)} for text in texts]
    table = np.zeros((len(sets), max(1, len(number))), dtype=np.float32)
    for row, words in zip(table, sets, strict=True):
        row[list(words)] = 1
    ours, theirs = table[: len(answers)], table[len(answers) :]
    both = ours @ theirs.T
    either = ours.sum(1)[:, None] + theirs.sum(1)[None] - both
    return np.asarray(both / np.maximum(either, 1), dtype=np.float64)


def _labels_fit(answers: Sequence[Prediction], studies: Sequence[Study]) -> NDArray[np.float64] | None:
    """One less the mean error of the probabilities of answer i as those of study j (n, n)."""
    if any(answer.probabilities is None for answer in answers) or any(s.labels is None for s in studies):
        return None
    ours = np.nan_to_num(np.stack([np.asarray(answer.probabilities, float) for answer in answers]), nan=0.5)
    truth = np.stack([np.asarray(study.labels, float) for study in studies])
    labelled = np.isfinite(truth) & (truth >= 0)
    truth = np.where(labelled, truth, 0.5)
    if ours.shape != truth.shape:
        return None
    wrong = ours @ (1 - truth).T + (1 - ours) @ truth.T
    return np.asarray(1 - wrong / truth.shape[1], dtype=np.float64)


def _words(text: str) -> list[str]:
    return text.lower().replace(".", " ").replace(",", " ").split()


def _stored(run: StoredRun, state: str) -> Mapping[str, Prediction]:
    return AnswerFile(run.cell.predictions(state), PREDICTIONS).sealed() or {}


def _same_rows(run: StoredRun) -> set[str]:
    """Lines on other methods whose stored answers are the same, byte by byte."""
    own = AnswerFile(run.cell.predictions(FULL), PREDICTIONS).digest()
    if not own:
        return set()
    cells = run.cell.directory.parents[1].glob("*/*")
    others = (each for each in cells if each.parent != run.cell.directory.parent)
    files = ((each.parent.name, AnswerFile(Cell(each).predictions(FULL), PREDICTIONS)) for each in others)
    return {f"the stored answers are those of {name}" for name, file in files if file.digest() == own}
