"""Codes of labels: 1, 0, -1 and words like ``yes``, as CheXpert's files and spreadsheets have them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from harness.core.null_words import is_null
from harness.datasets.readers.records import Problem
from harness.datasets.tabular.forms import shown

POSITIVE = frozenset({"1", "1.0", "true", "yes", "y", "t", "positive", "pos", "present", "+"})
NEGATIVE = frozenset({"0", "0.0", "false", "no", "n", "f", "negative", "neg", "absent"})
UNCERTAIN = frozenset(
    {"-1", "-1.0", "u", "uncertain", "possible", "probable", "equivocal", "indeterminate", "?"}
)
_CODES = POSITIVE | NEGATIVE | UNCERTAIN


def is_code(text: str) -> bool:
    """Whether a text says yes, no or uncertain."""
    return text.casefold() in _CODES


@dataclass(slots=True)
class CodeReader:
    """Turns codes into numbers and notes what has to be asked.

    Attributes:
        uncertain: what an uncertain label counts as: positive or negative; empty asks.
    """

    uncertain: str
    _doubtful: list[str] = field(default_factory=list)
    _blank: list[str] = field(default_factory=list)
    _bad: list[Problem] = field(default_factory=list)

    def read(self, codes: Iterable[str], where: str) -> list[float] | None:
        """1 or 0 for each code; None where all are empty. An empty one among others counts as negative."""
        codes = list(codes)
        if all(is_null(code) for code in codes):
            return None
        return [self._value(code.casefold(), where) for code in codes]

    def _value(self, code: str, where: str) -> float:
        if is_null(code):
            self._blank.append(where)
        elif code in UNCERTAIN:
            self._doubtful.append(where)
            return float(self.uncertain == "positive")
        elif code not in POSITIVE | NEGATIVE:
            message = f"a label is {shown(code)}"
            self._bad.append(Problem("bad-label", where, message, "use 1, 0, -1 or nothing"))
        return float(code in POSITIVE)

    def problems(self) -> list[Problem]:
        """What was met: unknown codes, uncertain labels without a rule, empty ones."""
        problems = list(self._bad)
        if self._doubtful:
            count, first = len(self._doubtful), self._doubtful[0]
            if self.uncertain:
                message = f"{count} uncertain labels (-1), this one first, count as {self.uncertain}"
                problems.append(Problem("uncertain-labels", first, message, fatal=False))
            else:
                message = f"{count} labels are uncertain (-1), this one first: yes or no?"
                hint = "--set csv.uncertain=positive or =negative says what they count as"
                problems.append(Problem("uncertain-labels", first, message, hint))
        if self._blank:
            message = f"{len(self._blank)} empty labels beside others, this one first, count as negative"
            hint = "as CheXpert's files leave out what a report does not mention"
            problems.append(Problem("blank-labels", self._blank[0], message, hint, fatal=False))
        return problems
