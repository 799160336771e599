"""How metrics are to be computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.core.types import LabelCounts


@dataclass(frozen=True, slots=True)
class MetricOptions:
    """How metrics are to be computed; None leaves a family at its default.

    Attributes:
        tokenizer: tokenisation profile.
        reference_words: references are cut after so many tokens.
        uncertain: what an uncertain finding counts as: ``positive``, ``negative`` or ``ignored``.
        multilabel: labels are independent findings.
        labels: of the test set.
        rare_words: words that occur less often in training are ``<unk>`` in the references.
    """

    tokenizer: str | None = None
    reference_words: int | None = None
    uncertain: str | None = None
    multilabel: bool | None = None
    labels: LabelCounts | None = None
    rare_words: int | None = None


DEFAULTS = MetricOptions()
