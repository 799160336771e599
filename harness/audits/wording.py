"""Whether reports repeat the indication that a method was given."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from harness.audits.breach import Breach
from harness.audits.differences import Answers
from harness.audits.subject import Subject
from harness.core.types import Task

_RUN = 4
"""Words in a row that a report shares with the indication by more than chance."""
_MOST = 0.6
"""Share of the indication's words that a report has in their order by more than chance.

Of 539 test studies of ``iu-phantom`` 2 references have so many, and at most 3 reports of a method.
"""
_ALPHA = 0.01


def text_honest(subject: Subject, base: Answers) -> str:
    """The output does not contain the indication verbatim beyond what references do."""
    pairs = [study for study in subject.case.test if study.context and study.report]
    if Task.REPORT not in subject.card.tasks or not pairs:
        return "no reports of studies with clinical text"
    ours = {study.id for study in pairs if repeats(study.context or "", base[study.id].report or "")}
    true = {study.id for study in pairs if repeats(study.context or "", study.report or "")}
    only_ours, only_true = len(ours - true), len(true - ours)
    line = f"{len(ours)} of {len(pairs)} reports repeat their indication, {len(true)} references do"
    if tail(only_ours, only_ours + only_true) < _ALPHA:
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


def tail(hits: int, trials: int) -> float:
    """P(X >= hits) for X ~ Binomial(trials, 1/2): the one-sided sign test."""
    return sum(math.comb(trials, k) for k in range(hits, trials + 1)) / 2**trials


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
