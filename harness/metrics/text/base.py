"""What the metrics over report texts share: a tokenisation profile, and reports joined study by study."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar, TypeVar

from harness.core.errors import HarnessError
from harness.core.types import Prediction, Reference, Task
from harness.metrics.base import Metric
from harness.metrics.text.characters import NO_NORM, plain_characters
from harness.metrics.text.numbered import NumberedPairs
from harness.metrics.text.tokenization import DEFAULT_PROFILE, Tokens, tokenizer

T = TypeVar("T")


_Kept = dict[Any, tuple[Any, object, object]]
_numbered: ContextVar[_Kept | None] = ContextVar("numbered texts", default=None)


class TextMetric(Metric):
    """Base of the metrics over report tokens.

    Args:
        tokenizer: tokenisation profile; an unknown one is an error here, not at the first prediction.
        reference_words: references are cut after so many tokens, as some published scores were; None: never.
        rare_words: for the signature: words seen less often in training are ``<unk>`` in the references.
    """

    task: ClassVar[Task] = Task.REPORT
    tokenized: ClassVar[bool] = True

    def __init__(
        self,
        tokenizer: str = DEFAULT_PROFILE,
        reference_words: int | None = None,
        rare_words: int | None = None,
    ) -> None:
        self.profile = _known(tokenizer)
        self.reference_words = at_least_one(reference_words)
        self.rare_words = rare_words

    def unavailable(self) -> str | None:
        """Why the profile cannot run here, or None."""
        return tokenizer(self.profile).unavailable()

    def tokens(
        self, predictions: Sequence[Prediction], references: Sequence[Reference]
    ) -> tuple[list[Tokens], list[Tokens]]:
        """Tokens of predicted and of reference reports, in the same order.

        An empty text is a valid report without tokens.

        Raises:
            HarnessError: a study has no report at all, or the lengths differ.
        """
        hypotheses, targets = report_texts(predictions, references)
        tokens = tokenizer(self.profile).batch(hypotheses + targets)
        references_tokens = [line[: self.reference_words] for line in tokens[len(hypotheses) :]]
        return tokens[: len(hypotheses)], references_tokens

    def several_tokens(
        self, predictions: Sequence[Prediction], references: Sequence[Sequence[Reference]]
    ) -> list[tuple[Tokens, list[Tokens]]]:
        """Per study the tokens of the prediction, and of each of its references.

        Raises:
            HarnessError: as ``tokens``.
        """
        flat = [(ours, each) for ours, own in zip(predictions, references, strict=True) for each in own]
        hypotheses, targets = self.tokens([ours for ours, _ in flat], [theirs for _, theirs in flat])
        studies, start = [], 0
        for own in references:
            studies.append((hypotheses[start], targets[start : start + len(own)]))
            start += len(own)
        return studies

    def numbered(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> NumberedPairs:
        """Predicted and reference reports as numbers of tokens, each different pair once.

        Raises:
            HarnessError: as ``tokens``.
        """
        kept = _numbered.get()
        key = (id(predictions), id(references), self.profile, self.reference_words)
        if kept is not None and key in kept:
            earlier: NumberedPairs = kept[key][0]
            return earlier
        hypotheses, targets = report_texts(predictions, references)
        pairs = NumberedPairs.of(tokenizer(self.profile), hypotheses, targets, self.reference_words)
        if kept is not None:
            kept[key] = pairs, predictions, references  # while they are kept, no other list has their ids
        return pairs

    def learned(self, references: Sequence[Reference], what: str, learn: Callable[[], T]) -> T:
        """What ``learn`` makes of all references; inside ``numbered_once`` once for the same list."""
        kept = _numbered.get()
        if kept is None:
            return learn()
        key = (what, id(references), self.profile, self.reference_words)
        if key not in kept:
            kept[key] = learn(), references, None
        lesson: T = kept[key][0]
        return lesson

    @property
    def text_fields(self) -> str:
        """Fields of the signature: what a token is, and how much of a reference counts.

        Characters count as they are written: published scores took them so.
        """
        return f"{NO_NORM}|tok:{self.profile}|{references_field(self.reference_words, self.rare_words)}"


@contextmanager
def numbered_once() -> Iterator[None]:
    """Inside, all metrics share the numbered tokens of the same lists, and what the references teach.

    The lists must not change meanwhile.
    """
    token = _numbered.set({})
    try:
        yield
    finally:
        _numbered.reset(token)


def report_texts(
    predictions: Sequence[Prediction], references: Sequence[Reference]
) -> tuple[list[str], list[str]]:
    """Predicted and reference reports as written, in the same order.

    Raises:
        HarnessError: a study has no report at all, or the lengths differ.
    """
    if len(predictions) != len(references):
        raise HarnessError(
            f"{len(predictions)} predictions for {len(references)} references", "join them by id first"
        )
    ids = [reference.id for reference in references]
    hypotheses = _texts("prediction", ids, (prediction.report for prediction in predictions))
    return hypotheses, _texts("reference", ids, (reference.report for reference in references))


def plain_report_texts(
    predictions: Sequence[Prediction], references: Sequence[Reference]
) -> tuple[list[str], list[str]]:
    """``report_texts`` in plain characters, so that texts that look alike are alike for a model.

    Raises:
        HarnessError: as ``report_texts``.
    """
    hypotheses, targets = report_texts(predictions, references)
    return list(map(plain_characters, hypotheses)), list(map(plain_characters, targets))


def at_least_one(words: int | None) -> int | None:
    """``words`` as it is.

    Raises:
        HarnessError: it is 0 or less.
    """
    if words is not None and words < 1:
        raise HarnessError(f"--reference-words {words}: at least 1", "leave it out to keep references whole")
    return words


def references_field(words: int | None, rare: int | None = None) -> str:
    """``ref:full``, or ``ref:60`` where references are cut after 60 tokens.

    ``|unk:min3`` follows where words seen less than three times in training are ``<unk>`` in the references.
    """
    return f"ref:{words or 'full'}" + (f"|unk:min{rare}" if rare else "")


def _known(profile: str) -> str:
    return tokenizer(profile).name


def _texts(side: str, ids: Sequence[str], reports: Iterable[str | None]) -> list[str]:
    texts = []
    for study, report in zip(ids, reports, strict=True):
        if report is None:
            raise HarnessError(
                f"study {study!r} has no {side} report", "write an empty text if that is meant"
            )
        texts.append(report)
    return texts
