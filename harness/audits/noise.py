"""How much answers of a method move with the size of a batch alone: what rounding does, and no more.

Sums are added in another order where a batch has another size, and in half precision this shows in the third
digit. Copies of one study, asked about 1, 5 and 16 at a time, are the same company in every size: what moves
between them is rounding. What follows from other studies of the batch (their mean, the share of them that
lack a view) is the same in all of them, so it is never taken for noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.audits.breach import Breach
from harness.core.types import Prediction, Study

SIZES = (1, 5, 16)
"""Copies of a study that are asked about at once."""
COPIED = 8
"""Studies of which copies are asked about."""
MOST = 0.02
"""A larger change of a probability is more than rounding: bfloat16 has eight bits, so that a logit of 10 may
be off by .08, which moves a probability by .02 at most."""
MOST_REPORTS = 0.25
"""Share of reports that may turn on rounding."""
_SAFETY = 4.0
"""Times that the noise of few studies is taken for that of all."""
FLOOR = 1e-5


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far two answers about one study may lie apart and count as the same.

    Attributes:
        probabilities: largest difference.
        reports: share of reports that may differ.
    """

    probabilities: float = FLOOR
    reports: float = 0.0

    def __str__(self) -> str:
        reports = f"at most {self.reports:.0%} of reports differ" if self.reports else "reports identical"
        return f"{reports}, probabilities within {self.probabilities:.1g}"


EXACT = Tolerance()
"""Of a method whose answers do not move with the size of a batch."""


def tolerance_of(
    answers: Callable[[Study, int], Sequence[Prediction]], studies: Sequence[Study]
) -> Tolerance:
    """The tolerance that follows from answers about copies of some of the studies.

    Args:
        answers: the answers about so many copies of a study, asked about at once.
        studies: of the audit.

    Raises:
        Breach: see ``measured``.
    """
    some = studies[:: max(1, len(studies) // COPIED)][:COPIED]
    return measured({study.id: {size: answers(study, size) for size in SIZES} for study in some})


def measured(copies: Mapping[str, Mapping[int, Sequence[Prediction]]]) -> Tolerance:
    """The same from the answers.

    Args:
        copies: study id -> size of the batch -> answers about as many copies of the study.

    Raises:
        Breach: answers move with the size of the batch by more than rounding explains.
    """
    gap, turned = 0.0, []
    for study, by_size in copies.items():
        alone = by_size[min(by_size)][0]
        others = [(size, answer) for size, answers in by_size.items() for answer in answers]
        turned += [(study, size) for size, answer in others if answer.report != alone.report]
        for size, answer in others:
            own = _gap(alone, answer)
            if own > MOST:
                raise Breach(f"study {study}: a probability changed by {own:.4f}, {_asked(size)}")
            gap = max(gap, own)
    share = len({study for study, _ in turned}) / max(1, len(copies))
    if share > MOST_REPORTS:
        study, size = turned[0]
        raise Breach(f"study {study}: the report changed, {_asked(size)}")
    return Tolerance(max(FLOOR, min(_SAFETY * gap, MOST)), min(2 * share, MOST_REPORTS))


def _asked(size: int) -> str:
    return f"when {size} copies of the study were asked about at once"


def _gap(one: Prediction, other: Prediction) -> float:
    if one.probabilities is None or other.probabilities is None:
        return 0.0
    gap = np.abs(np.asarray(one.probabilities, float) - np.asarray(other.probabilities, float))
    return float(np.nan_to_num(gap, nan=0.0).max(initial=0.0))
