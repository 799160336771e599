"""The checks of an audit: each gives a line on what it tried, or on the study and change that failed it."""

from __future__ import annotations

import inspect
import math
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from harness.audits.breach import Breach
from harness.audits.noise import tolerance_of
from harness.audits.subject import (
    BATCH,
    Answers,
    Subject,
    batches,
    copied,
    first_difference,
    same_inputs,
    spread,
)
from harness.audits.watch import retargeted, scrambled, swapped, watching
from harness.core.types import CONTEXT, Inputs, Study, Task
from harness.method.batching import study_seed

ALONE = 16
"""Studies that are asked about one at a time."""
_RUN = 4
"""Words in a row that a report shares with the indication by more than chance."""
_MOST = 0.6
"""Share of the indication's words that a report has in their order by more than chance.

Of 539 test studies of ``iu-phantom`` 2 references have so many, and at most 3 reports of a method.
"""
_ALPHA = 0.01


Step = Callable[[Subject, Answers], str]
"""A check: the subject and its undisturbed answers to what was tried; raises ``Breach``."""


def _expect_same(subject: Subject, before: Answers, after: Answers, change: str) -> None:
    difference = first_difference(before, after, subject.case.info.label_names, subject.tolerance)
    if difference:
        raise Breach(f"{difference}, when {change}")


def target_blind(subject: Subject, base: Answers) -> str:
    """Swapping or scrambling every target that the process could reach changes no prediction."""
    for name in ("predict", "sample"):
        takes = list(inspect.signature(getattr(subject.method, name)).parameters)
        extra = set(takes[1:]) - ({"draws"} if name == "sample" else set())
        if extra:
            raise Breach(f"{name} takes {', '.join(sorted(extra))} beside the inputs")
    if subject.touches.of_targets():
        raise Breach(f"{subject.touches.of_targets()}, during predict")
    every = subject.case.dataset.studies("test")
    for change, answers in (("swapped", swapped(every)), ("scrambled", scrambled(every))):
        fresh = subject.reloaded()
        with watching(subject.case.dataset, answers=answers), retargeted(answers):
            after = subject.predict(method=fresh)
        _expect_same(subject, base, after, f"the targets of all test studies were {change}")
    return f"targets of {len(every)} studies swapped and scrambled; predict takes inputs only"


def batch_independent(subject: Subject, base: Answers) -> str:
    """Predictions are the same alone, in any order, in any batch, in any company."""
    test = subject.case.test
    subject.tolerance = tolerance_of(subject.copies, test)
    _expect_same(
        subject, base, subject.predict(test[::-1], size=5), "the order was reversed, in batches of 5"
    )
    few = test[:ALONE]
    _expect_same(subject, base, subject.predict(few, size=1), "the study was alone in its batch")
    mixed = [study for own in test for study in (own, _stranger(own))]
    own_ids = {study.id for study in test}
    after = subject.predict(mixed)
    ours = {name: answer for name, answer in after.items() if name.partition(", ")[0] in own_ids}
    _expect_same(subject, base, ours, "every other study of the batch was noise")
    return f"{len(test)} studies in reverse and among noise, {len(few)} alone; {subject.tolerance}"


def _stranger(study: Study) -> Study:
    """A study of noise with the same modalities."""
    rng = np.random.default_rng(_seed_of(study))
    images = {view: rng.integers(0, 256, study.images[view].shape, dtype=np.uint8) for view in study.images}
    context = None if study.context is None else _noise_words(rng, int(rng.integers(1, 120)))
    name = f"stranger-{study.id}"
    return Study(name, name, "test", images, context)


def mask_honest(subject: Subject, base: Answers) -> str:
    """The content of a missing modality changes no prediction, blanked by the harness or by the method."""
    if subject.touches.of_inputs():
        raise Breach(f"{subject.touches.of_inputs()}, during predict")
    for modality in subject.case.info.modalities:
        read = modality in subject.case.info.read_by(subject.card.reads)
        dropped = modality if read else None
        before = subject.predict(dropped=dropped) if read else base
        for kind in range(2):
            for batch in batches(subject.case.test, BATCH):
                _one_mask(subject, batch, modality, dropped, kind, before)
    if subject.touches.of_inputs():
        raise Breach(f"{subject.touches.of_inputs()}, during predict")
    return (
        f"{', '.join(subject.case.info.modalities)}: own or another study's content, noise, huge values, the "
        f"true report, blanked by the harness and by the method"
    )


def _one_mask(
    subject: Subject,
    batch: Sequence[Study],
    modality: str,
    dropped: str | None,
    kind: int,
    before: Answers,
) -> None:
    """Put content behind the mask of one modality: a kind of content for each study of the batch."""
    inputs = subject.inputs(batch, dropped)
    contents = [_hidden(subject, study, modality, number + 2 * kind) for number, study in enumerate(batch)]
    altered = [
        _altered(study, modality, content) for study, (_, content) in zip(batch, contents, strict=True)
    ]
    if not same_inputs(inputs, subject.inputs(altered, dropped)):
        raise Breach(f"the harness let content of the missing {modality} through to study {batch[0].id}")
    filled = copied(inputs)
    hit = [row for row in range(len(batch)) if not bool(inputs.present[modality][row])]
    for row in hit:
        _fill(filled, modality, row, contents[row][1])
    with watching(subject.case.dataset, subject.case.files) as touches:
        after = subject.ask(filled)
    subject.touches.fields += touches.fields
    for row in hit:
        name = batch[row].id
        answers = {key: answer for key, answer in after.items() if key.partition(", ")[0] == name}
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
    """Same seed, same result, whatever the process drew before; other seed, reported spread."""
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002  what a careless method would draw from
    torch.manual_seed(1)
    _expect_same(subject, base, subject.predict(), "asked a second time")
    _expect_same(subject, base, subject.predict(method=subject.reloaded()), "saved and loaded")
    seed = subject.case.seed
    again, _ = subject.fit(seed, lambda *_: None, poisoned=False)
    _expect_same(subject, base, subject.predict(method=again), "trained a second time with the same seed")
    other, _ = subject.fit(seed + 1, lambda *_: None, poisoned=False)
    apart = spread(base, subject.predict(method=other))
    return f"asked, loaded and trained again: the same; trained with another seed: {apart}"


def text_honest(subject: Subject, base: Answers) -> str:
    """The output does not contain the indication verbatim beyond what references do."""
    pairs = [study for study in subject.case.test if study.context and study.report]
    if Task.REPORT not in subject.card.tasks or not pairs:
        return "no reports of studies with clinical text"
    ours = {study.id for study in pairs if repeats(study.context or "", base[study.id].report or "")}
    true = {study.id for study in pairs if repeats(study.context or "", study.report or "")}
    only_ours, only_true = len(ours - true), len(true - ours)
    line = f"{len(ours)} of {len(pairs)} reports repeat their indication, {len(true)} references do"
    if _tail(only_ours, only_ours + only_true) < _ALPHA:
        first = next(study.id for study in pairs if study.id in ours - true)
        raise Breach(f"study {first}: its report repeats the indication word by word; {line}")
    return line


def repeats(context: str, report: str) -> bool:
    """Whether a report holds the indication: four of its words in a row, or most of them in their order.

    Of two or three words all have to stand there in a row; a single word proves nothing.
    """
    indication, words = _words(context.rpartition("indication:")[2]), _words(report)
    length = min(_RUN, len(indication))
    if length < 2:
        return False
    text = f" {' '.join(words)} "
    runs = (indication[start : start + length] for start in range(len(indication) - length + 1))
    return any(f" {' '.join(run)} " in text for run in runs) or (
        length == _RUN and common(indication, words) >= _MOST * len(indication)
    )


def common(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest common subsequence of two texts' words."""
    row = [0] * (len(other) + 1)
    for word in one:
        diagonal = 0
        for at, each in enumerate(other, 1):
            diagonal, row[at] = row[at], diagonal + 1 if word == each else max(row[at], row[at - 1])
    return row[-1]


def _tail(hits: int, trials: int) -> float:
    """P(X >= hits) for X ~ Binomial(trials, 1/2): the one-sided sign test."""
    return sum(math.comb(trials, k) for k in range(hits, trials + 1)) / 2**trials


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


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
