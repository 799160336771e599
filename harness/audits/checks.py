"""The checks of an audit: each gives a line on what it tried, or on the study and change that failed it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from harness.audits.asked import Asked
from harness.audits.breach import Breach
from harness.audits.differences import Answers, first_difference
from harness.audits.noise import tolerance_of
from harness.audits.question import BATCH, Question, batches
from harness.audits.subject import Subject, copied, same_inputs
from harness.audits.wording import tail, text_honest
from harness.core.types import CONTEXT, Inputs, Prediction, Study
from harness.evaluation import synthesis
from harness.method.batching import study_seed
from harness.missingness.states import FULL

ODD = 13
"""Studies of a batch that is not of a run's size."""
ALONE = 16
"""Studies that are asked about one at a time."""
_CONTENTS = 4
"""Kinds of content behind a mask; a study has half of them, or one where each kind has ``ALONE`` studies."""
_STRICT = 0.001


Step = Callable[[Subject, Answers], str]
"""A check: the subject and its undisturbed answers to what was tried; raises ``Breach``."""


def _expect_same(subject: Subject, before: Answers, after: Answers, change: str) -> None:
    difference = first_difference(before, after, subject.case.info.label_names, subject.tolerance)
    if difference:
        raise Breach(f"{difference}, when {change}")


def repeatable(subject: Subject, base: Answers) -> None:
    """The same question has the same answers in two processes; other checks compare answers, too."""
    with subject.loaded() as asked:
        _expect_same(subject, base, subject.answers(asked), "the same was asked a second time")
        subject.later = subject.answers(asked, _mixed(subject))


def _mixed(subject: Subject, **more: Any) -> Question:
    """Studies of a batch are in different modality states."""
    cycle = [FULL, *subject.states]
    states = {study.id: cycle[row % len(cycle)] for row, study in enumerate(subject.case.test)}
    return Question(subject.case.test, states, **more)


def _expected(subject: Subject, base: Answers, states: Mapping[str, str]) -> Answers:
    """What was answered about each study in its state."""
    return {
        name: (base if states[_study(name)] == FULL else subject.of_state(states[_study(name)]))[name]
        for name in base
    }


def _study(name: str) -> str:
    return name.partition(", ")[0]


def _all_at_once(subject: Subject, base: Answers) -> bool:
    """Whether answers stay the same where everything is changed that must not matter.

    Ids are random, the order is another one, every other study is noise, states are mixed, batches have 13
    studies, hashes another salt and clocks another date. Only where this changes an answer is each change
    tried alone, to name the cause.
    """
    if subject.unmoved is None:
        mixed = _mixed(subject)
        assert not isinstance(mixed.states, str)
        studies = [each for own in subject.case.test[::-1] for each in (_stranger(own), own)]
        with subject.loaded(elsewhere=True) as asked:
            after = subject.answers(asked, replace(mixed, studies=studies, size=ODD, renamed=True))
        expected = _expected(subject, base, mixed.states)
        _measure_rounding(subject)
        subject.unmoved = _is_same(subject, expected, {name: after[name] for name in expected})
    return subject.unmoved


def _measure_rounding(subject: Subject) -> None:
    """What rounding does to the method's answers; what it does not explain is kept for its check."""
    if subject.rounding is not None:
        return
    subject.rounding = ""
    with subject.loaded() as asked:
        try:
            subject.tolerance = tolerance_of(
                lambda study, count: subject.copies(asked, study, count), subject.case.test
            )
        except Breach as breach:
            subject.rounding = str(breach)


def target_blind(subject: Subject, base: Answers) -> str:
    """No target is in reach, and neither ids nor seeds nor conditions of generated views stand in for one."""
    for name, extra in subject.facts["takes"].items():
        if extra:
            raise Breach(f"{name} takes {', '.join(extra)} beside the inputs")
    test = subject.case.test
    if not _all_at_once(subject, base):
        with subject.loaded() as asked:
            after = subject.answers(asked, Question(test, renamed=True))
        _expect_same(subject, base, after, "its id was another one")
    _no_answers_by_seed(subject, base)
    views = synthesis.views(subject.card, subject.case.info)
    if views:
        with subject.loaded() as asked:
            subject.answers(asked)
            after = subject.predictions(asked, Question(test))
        _expect_same(subject, base, after, "its report had been a condition of a generated view before")
    where = f"in a box ({subject.confined})" if subject.confined else "unconfined"
    return f"asked {where}, by inputs only, under random ids and with the seeds of other studies"


def _no_answers_by_seed(subject: Subject, base: Answers) -> None:
    """A study with another one's seed is not answered as that one is: seeds follow from ids."""
    test = subject.case.test
    owner = {own.id: test[row - 1] for row, own in enumerate(test)}
    third = {own.id: test[row - 2] for row, own in enumerate(test)}
    with subject.loaded() as asked:
        after = subject.predictions(asked, Question(test, seeds_of=owner))

    for part in (_report_of, _probabilities_of):

        def same(name: str, other: str, part: Callable[[Prediction], Prediction] = part) -> bool:
            """Whether the answer is the other study's and not its own."""
            differs = not _is_same(subject, {name: part(base[name])}, {name: part(base[other])})
            return differs and _is_same(subject, {name: part(base[other])}, {name: part(after[name])})

        of_owner = [study.id for study in test if same(study.id, owner[study.id].id)]
        of_third = [study.id for study in test if same(study.id, third[study.id].id)]
        if tail(len(of_owner), len(of_owner) + len(of_third)) < _STRICT:
            first = of_owner[0]
            raise Breach(
                f"study {first}: with the seed of study {owner[first].id} it is answered as that one is, "
                f"and so are {len(of_owner)} of {len(test)} studies"
            )


def _report_of(answer: Prediction) -> Prediction:
    return Prediction(report=answer.report)


def _probabilities_of(answer: Prediction) -> Prediction:
    return Prediction(probabilities=answer.probabilities)


def _is_same(subject: Subject, before: Answers, after: Answers) -> bool:
    return not first_difference(before, after, subject.case.info.label_names, subject.tolerance)


def batch_independent(subject: Subject, base: Answers) -> str:
    """Predictions are the same alone, in any order, in any batch, in any company."""
    test = subject.case.test
    few = test[:ALONE]
    _measure_rounding(subject)
    if subject.rounding:
        raise Breach(subject.rounding)
    if not _all_at_once(subject, base):
        _each_batch(subject, base)
    with subject.loaded() as asked:
        _expect_same(
            subject, base, subject.answers(asked, Question(few, size=1)), "the study was alone in its batch"
        )
        whole = subject.answers(asked, Question(test, size=len(test)))
        _expect_same(subject, base, whole, f"all {len(test)} studies were one batch")
    return (
        f"{len(test)} studies in reverse among noise and mixed states in batches of {ODD}, all in one batch, "
        f"{len(few)} alone; {subject.tolerance}"
    )


def _each_batch(subject: Subject, base: Answers) -> None:
    """What changes about a batch, one at a time."""
    test = subject.case.test
    mixed = _mixed(subject)
    assert not isinstance(mixed.states, str)
    changes = {
        f"the order was reversed, in batches of {ODD}": Question(test[::-1], size=ODD),
        "every other study of the batch was noise": Question(
            [study for own in test for study in (own, _stranger(own))]
        ),
    }
    for change, question in changes.items():
        with subject.loaded() as asked:
            after = subject.answers(asked, question)
        _expect_same(subject, base, {name: after[name] for name in base}, change)
    with subject.loaded() as asked:
        after = subject.answers(asked, mixed)
    change = "other studies of the batch were in other modality states"
    _expect_same(subject, _expected(subject, base, mixed.states), after, change)


def _stranger(study: Study) -> Study:
    """A study of noise with the same modalities."""
    rng = np.random.default_rng(_seed_of(study))
    images = {view: rng.integers(0, 256, study.images[view].shape, dtype=np.uint8) for view in study.images}
    context = None if study.context is None else _noise_words(rng, int(rng.integers(1, 120)))
    name = f"stranger-{study.id}"
    return Study(name, name, "test", images, context)


def mask_honest(subject: Subject, base: Answers) -> str:
    """A missing modality changes no prediction, by its content or by having been there before."""
    states = _mixed(subject).states
    assert not isinstance(states, str)
    expected = _expected(subject, base, states)
    if not _is_same(subject, expected, subject.later):
        with subject.loaded() as asked:
            first = subject.answers(asked, _mixed(subject))
        _expect_same(subject, first, subject.later, "the whole study had been asked about before")
    for modality in subject.case.info.modalities:
        read = modality in subject.states
        dropped = modality if read else None
        before = subject.of_state(modality) if read else base
        with subject.loaded() as asked:
            for kind in range(1 if len(subject.case.test) >= _CONTENTS * ALONE else 2):
                for batch in batches(subject.case.test, BATCH):
                    _one_mask(subject, asked, Masked(batch, modality, dropped, kind), before)
    return (
        f"{', '.join(subject.case.info.modalities)}: own or another study's content, noise, huge values, the "
        f"true report, blanked by the harness and by the method; a state is asked about before and after the "
        f"whole study"
    )


@dataclass(frozen=True)
class Masked:
    """A batch whose studies lack a modality, by nature or because the harness blanks it.

    Attributes:
        dropped: the modality, where the harness blanks it, or None.
        kind: 0 or 1: which half of the contents hides behind the mask.
    """

    studies: Sequence[Study]
    modality: str
    dropped: str | None
    kind: int


def _one_mask(subject: Subject, asked: Asked, masked: Masked, before: Answers) -> None:
    """Put content behind the mask of one modality: a kind of content for each study of the batch."""
    batch, modality = masked.studies, masked.modality
    inputs = subject.inputs(batch, masked.dropped)
    contents = [
        _hidden(subject, study, modality, number + 2 * masked.kind) for number, study in enumerate(batch)
    ]
    altered = [
        _altered(study, modality, content) for study, (_, content) in zip(batch, contents, strict=True)
    ]
    if not same_inputs(inputs, subject.inputs(altered, masked.dropped)):
        raise Breach(f"the harness let content of the missing {modality} through to study {batch[0].id}")
    filled = copied(inputs)
    hit = [row for row in range(len(batch)) if not bool(inputs.present[modality][row])]
    for row in hit:
        _fill(filled, modality, row, contents[row][1])
    after = subject.ask(asked, [filled])
    for row in hit:
        name = batch[row].id
        answers = {key: answer for key, answer in after.items() if _study(key) == name}
        _expect_same(
            subject, before, answers, f"the missing {modality} held {contents[row][0]} behind the mask"
        )


Content = np.ndarray | str


def _hidden(subject: Subject, study: Study, modality: str, number: int) -> tuple[str, Content]:
    """Name and content, float32 (C, H, W) or text, of what hides behind a study's mask."""
    rng = np.random.default_rng(_seed_of(study))
    others = [one for one in subject.case.test if one.id != study.id and modality in one.modalities]
    other = others[_seed_of(study) % len(others)] if others else study
    own = study if modality in study.modalities else other
    if modality == CONTEXT:
        texts = (
            ("its own text", own.context or "chest pain"),
            ("another study's text", other.context or "cough"),
            ("the true report", study.report or "no report"),
            ("2,000 words of noise", _noise_words(rng, 2000)),
        )
        return texts[number % len(texts)]
    info = subject.case.info
    shape = (info.channels, info.image_size, info.image_size)

    def pixels(one: Study) -> np.ndarray:
        if modality not in one.images:
            return rng.random(shape, dtype=np.float32)
        return np.asarray(one.images[modality], dtype=np.float32).transpose(2, 0, 1) / 255

    images = (
        ("its own image", lambda: pixels(own)),
        ("another study's image", lambda: pixels(other)),
        ("noise", lambda: rng.random(shape, dtype=np.float32)),
        ("huge values", lambda: np.full(shape, 1e6, dtype=np.float32)),
    )
    name, make = images[number % len(images)]
    return name, make()


def _altered(study: Study, modality: str, content: Content) -> Study:
    """The study with other content in a modality that it has; the harness has to blank it."""
    if modality not in study.modalities:
        return study
    if isinstance(content, str):
        return replace(study, context=content)
    shown = np.clip(content * 255, 0, 255).astype(np.uint8).transpose(1, 2, 0)
    return replace(study, images={**study.images, modality: shown})


def _fill(inputs: Inputs, modality: str, row: int, content: Content) -> None:
    if isinstance(content, str):
        inputs.context[row] = content
    else:
        inputs.images[modality][row] = torch.from_numpy(content)


def deterministic(subject: Subject, base: Answers) -> str:
    """Same seed, same result, in any process on any day."""
    if not _all_at_once(subject, base):
        with subject.loaded(elsewhere=True) as asked:
            after = subject.answers(asked)
        _expect_same(subject, base, after, "hashes had another salt and clocks another date")
    seed = subject.case.seed
    with subject.trained(seed, elsewhere=True) as (asked, _, _):
        again = subject.answers(asked)
    if not _is_same(subject, base, again):
        _name_cause(subject, base, again)
    return "asked again in other processes, loaded, trained again with other hash salt and date: the same"


def _name_cause(subject: Subject, base: Answers, elsewhere: Answers) -> None:
    """Why a method that was trained a second time does not answer as the first one does.

    Raises:
        Breach: always.
    """
    with subject.trained(subject.case.seed) as (asked, checkpoint, _):
        here = subject.answers(asked)
    with subject.loaded(checkpoint) as asked:
        _expect_same(subject, here, subject.answers(asked), "the method was saved and loaded")
    _expect_same(subject, base, here, "trained a second time with the same seed")
    change = "trained a second time, with another salt of hashes and another date"
    _expect_same(subject, base, elsewhere, change)


def _noise_words(rng: np.random.Generator, count: int) -> str:
    """Words of five random letters."""
    letters = rng.integers(ord("a"), ord("z") + 1, (count, 5), dtype=np.uint8)
    return " ".join(word.tobytes().decode() for word in letters)


def _seed_of(study: Study) -> int:
    return study_seed(0, study.id, "audit")


STEPS: dict[str, Step] = {
    "target-blind": target_blind,
    "batch-independent": batch_independent,
    "mask-honest": mask_honest,
    "deterministic": deterministic,
    "text-honest": text_honest,
}
"""Those that train and ask the method themselves."""
