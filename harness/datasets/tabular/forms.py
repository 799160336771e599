"""Names that are the same in form: ``edema`` and ``Edema``, patients ``10`` and ``10.0``."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence

from harness.datasets.readers.records import Problem
from harness.datasets.readers.rows import Row

_BREAKS = re.compile(r"[\s_\-\u2010-\u2015]+")
_NUMBER = re.compile(r"([+-]?)0*(\d+)(?:(\.\d*?[1-9])0*|\.0*)?")
_LONGEST_SHOWN = 60
_SETTLED = "write one spelling; --set csv.variants=join joins them, =keep keeps them apart"


def shown(name: str) -> str:
    """The name as messages show it; a long cell may be text of a report, which none shows."""
    return repr(name) if len(name) <= _LONGEST_SHOWN else f"of {len(name)} characters"


def plain_form(name: str) -> str:
    """The name without what programs change: case, blanks, quotes, Unicode form, zeros at a number's ends."""
    visible = "".join(c for c in unicodedata.normalize("NFKC", name) if unicodedata.category(c) != "Cf")
    ascii_digits = "".join(str(unicodedata.digit(c)) if c.isdecimal() else c for c in visible)
    plain = _BREAKS.sub(" ", ascii_digits.casefold()).strip(" .\"'")
    number = _NUMBER.fullmatch(plain)
    return f"{number[1]}{number[2]}{number[3] or ''}" if number else plain


def variants(kind: str, what: str, names: Sequence[tuple[str, Row]]) -> list[Problem]:
    """A problem for each name that is another in form alone, at the first row that has it.

    Args:
        kind: of the problem.
        what: ``labels`` or ``patients``, for the message.
        names: every name with its row, in the table's order.
    """
    first: dict[str, dict[str, Row]] = defaultdict(dict)
    problems = []
    for name, row in names:
        spellings = first[plain_form(name)]
        if name not in spellings:
            if spellings:
                other, earlier = next(iter(spellings.items()))
                message = f"{what} {shown(other)} ({earlier.where}) and {shown(name)} differ in form alone"
                problems.append(Problem(kind, row.where, message, _SETTLED))
            spellings[name] = row
    return problems


def joined(names: Sequence[str]) -> dict[str, str]:
    """Name -> the most frequent name of its form; of equally frequent ones the first in the alphabet."""
    counts = Counter(names)
    best: dict[str, str] = {}
    for name in sorted(counts, key=lambda each: (-counts[each], each)):
        best.setdefault(plain_form(name), name)
    return {name: best[plain_form(name)] for name in counts}
