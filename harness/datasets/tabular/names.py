"""Names of labels that may not be meant as names: ``Mass?``, ``Edema (uncertain)``, ``None``, numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.datasets.readers.records import Problem
from harness.datasets.readers.rows import Row
from harness.datasets.tabular.codes import is_code
from harness.datasets.tabular.forms import shown
from harness.datasets.tabular.options import TableOptions

NUMBER = re.compile(r"[+-]?\d*\.?\d+(?:\.\d*)?")
_WORDS = "uncertain|possible|possibly|probable|probably|suspected|questionable|equivocal|likely"
_BEFORE = re.compile(rf"(?:(?:{_WORDS})\s+|\?\s*)(?P<name>\w.*)", re.IGNORECASE)
_BEHIND = re.compile(
    rf"(?P<name>.*[\w)])(?:[\s_(\[:]*\?+|[\s_(\[:=]+-1(?:\.0)?|[\s_(\[:=,\-]+(?:{_WORDS}))[)\]\s]*",
    re.IGNORECASE,
)
_CODED = re.compile(r".*\w\s*[:=]\s*(?P<code>\S+)")
_UNKNOWN = ("none", "unknown", "not known", "not available", "unlabeled", "unlabelled", "missing", "tbd")


@dataclass(frozen=True, slots=True)
class Doubts:
    """Findings that a mark or a word makes uncertain.

    Attributes:
        plain: names of each cell without the marks, as the options have it.
        cells: index of each cell with such a name, once per name.
        example: the first of the names.
        uncertain: what they count as; empty asks.
    """

    plain: Sequence[Sequence[str]]
    cells: list[int] = field(default_factory=list)
    example: str = ""
    uncertain: str = ""

    @classmethod
    def of(cls, items: Sequence[Sequence[str]], options: TableOptions) -> Doubts:
        """Doubts in the names of each cell; with ``variants=keep`` such a name is a class of its own."""
        if options.variants == "keep":
            return cls(items)
        plain, cells, example = [], [], ""
        for index, names in enumerate(items):
            certain = []
            for name in names:
                match = _BEFORE.fullmatch(name) or _BEHIND.fullmatch(name)
                if match:
                    cells.append(index)
                    example = example or name
                if match and options.uncertain == "positive":
                    certain.append(match["name"].strip())
                elif not match or not options.uncertain:
                    certain.append(name)
            plain.append(certain)
        return cls(plain, cells, example, options.uncertain)

    def problems(self, rows: Sequence[Row]) -> list[Problem]:
        """The question what they count as, or how many were read; ``rows`` are those of the cells."""
        if not self.cells:
            return []
        where, count = rows[self.cells[0]].where, len(self.cells)
        if self.uncertain:
            message = f"{count} uncertain labels, {shown(self.example)} first, count as {self.uncertain}"
            return [Problem("uncertain-labels", where, message, fatal=False)]
        message = f"{count} labels are marked as uncertain, {shown(self.example)} first: yes or no?"
        hint = "--set csv.uncertain=positive or =negative says what they count as, "
        hint += "csv.variants=keep takes each for a class of its own"
        return [Problem("uncertain-labels", where, message, hint)]


def odd_names(named: Sequence[tuple[str, Row]]) -> list[Problem]:
    """What is to be said of names that may not be meant as names: ``None``, numbers, codes among names."""
    remarks = []
    codes = [(name, row) for name, row in named if is_code(name) or _has_code(name)]
    if codes and not all(is_code(name) or NUMBER.fullmatch(name) for name, _ in named):
        name, row = codes[0]
        message = f"labels are names in some rows and codes in {len(codes)}, e.g. {shown(name)}"
        message += ": of which finding?"
        hint = "write the finding, or leave the cell empty"
        remarks.append(Problem("mixed-labels", row.where, message, hint))
    marks = [(name, row) for name, row in named if not any(map(str.isalnum, name)) or name[0] in "[{"]
    if marks and not codes:
        name, row = marks[0]
        message = f"{len(marks)} labels are no names, {shown(name)} first"
        hint = "write the finding, or leave the cell empty where the label is unknown"
        remarks.append(Problem("bad-label", row.where, message, hint))
    remarks += _unknown(named)
    if named and all(NUMBER.fullmatch(name) for name, _ in named):
        remarks.append(_numbers(named))
    return remarks


def _has_code(name: str) -> bool:
    match = _CODED.fullmatch(name)
    return match is not None and is_code(match["code"])


def _unknown(named: Sequence[tuple[str, Row]]) -> list[Problem]:
    remarks = []
    for word in _UNKNOWN:
        own = [(name, row) for name, row in named if name.casefold() == word]
        if own:
            message = f"{len(own)} labels are {own[0][0]!r}, this one first: a class of this name"
            hint = "leave the cell empty where the label is unknown; write No Finding where nothing was seen"
            remarks.append(Problem("none-label", own[0][1].where, message, hint, fatal=False))
    return remarks


def _numbers(named: Sequence[tuple[str, Row]]) -> Problem:
    where = named[0][1].where
    fractions = [(name, row) for name, row in named if float(name) != int(float(name))]
    if fractions:
        name, row = fractions[0]
        message = f"{len(fractions)} labels are fractions, {name} first: no class and no finding"
        return Problem("bad-label", row.where, message, "probabilities are no labels: write 1 or 0")
    names = ", ".join(sorted({name for name, _ in named})[:6])
    hint = '--set "csv.label_names=0=NAME;1=NAME;..." names them'
    message = f"labels are numbers, which name the classes: {names}"
    return Problem("number-labels", where, message, hint, fatal=False)
