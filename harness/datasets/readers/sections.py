"""Sections of a free-text radiology report, as the MIMIC-CXR release writes them.

A heading is a line that starts in capitals and a colon (``FINDINGS:``, ``REASON FOR EXAM:``), one of the
usual names in any case with a colon (``Impression:``), or one of them in capitals on a line of its own. A
heading that names the images (``PA AND LATERAL VIEWS OF THE CHEST:``) opens findings; any other unknown one
(``LUNGS:``) belongs to the text it stands in. ``FINAL REPORT`` or a line of underscores ends a wet read or an
addendum.

A usual name with one mistyped letter is that name (``IMPRSSION:``). A usual name in capitals, or in any case
behind the end of a sentence, is a heading inside a line, too (``HISTORY: Fever. FINDINGS: Clear.``).
``FINDINGS AND IMPRESSION`` is findings. Several sections of one name are joined in their order.

Text that stands under no heading is ``body``. Indication, history, comparison, technique and examination end
at their first blank line where more text without a heading follows, and that text is body too: it is how
reports without a FINDINGS heading are written, and context taken from the section must not contain it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from harness.datasets.readers.headings import (
    BODY,
    COMPARISON,
    EXAMINATION,
    FINDINGS,
    HISTORY,
    IMPRESSION,
    INDICATION,
    TECHNIQUE,
    headings_in,
    named_headings,
)
from harness.datasets.readers.records import Problem

_RULE = re.compile(r"[ \t]*_{6,}[ \t]*")
_LINE_END = "(?>\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029])"
_BLANK_LINE = re.compile(rf"{_LINE_END}[ \t]*{_LINE_END}")
"""The ends of lines are those of ``str.splitlines``."""
_ONE_PARAGRAPH = (INDICATION, HISTORY, COMPARISON, TECHNIQUE, EXAMINATION)
_SHORTEST_BODY = 4
"""Words that text without a heading needs to be taken for findings."""

_REPORT_TEXT = re.compile(
    r"\b(?:findings?|impressions?)(?:\(s\))?[ \t]*:"
    r"|(?:^|(?<=[.;:!?)\]])[ \t]*)(?:findings?|impressions?)(?:\(s\))?[ \t]*(?:$|[-=\u2013\u2014](?=\s))",
    re.IGNORECASE | re.MULTILINE,
)
"""A heading before a colon; or one that starts a line or sentence, before a dash or alone on its line."""
_DEIDENTIFIED = re.compile(r"_+")


@dataclass(frozen=True, slots=True)
class SectionedText:
    """A report by section.

    Attributes:
        sections: name -> text with its line breaks; parts of one name are joined, empty ones left out.
        mistyped: sections that a heading with a mistyped letter opened.
        inside: sections that a heading inside a line opened.
    """

    sections: dict[str, str]
    mistyped: frozenset[str] = frozenset()
    inside: frozenset[str] = frozenset()

    def on_one_line(self) -> dict[str, str]:
        """Each section on one line; body stands in for findings that have no heading.

        Body counts as findings where no heading opened any and it has four words and a full stop: a title
        such as ``CHEST, TWO VIEWS`` has not.
        """
        sections = {name: " ".join(part.split()) for name, part in self.sections.items()}
        body = sections.get(BODY, "")
        if FINDINGS not in sections and "." in body and len(body.split()) >= _SHORTEST_BODY:
            sections[FINDINGS] = body
        return sections


@dataclass(frozen=True, slots=True)
class SectionSpans:
    """Where the sections of a report stand in its text.

    Attributes:
        parts: section, start and end in characters; parts of one section are joined in this order.
        mistyped, inside: as in ``SectionedText``.
    """

    parts: tuple[tuple[str, int, int], ...]
    mistyped: frozenset[str]
    inside: frozenset[str]

    def read(self, text: str) -> SectionedText:
        """The sections of the text that these are the places of."""
        pieces: dict[str, list[str]] = defaultdict(list)
        for section, start, end in self.parts:
            pieces[section].append("\n".join(text[start:end].splitlines()))
        sections = {name: "\n".join(own) for name, own in pieces.items()}
        return SectionedText(sections, self.mistyped, self.inside)


def section_spans(text: str) -> SectionSpans:
    """Where the sections of a report are, and which of their headings are out of the ordinary."""
    parts: list[tuple[str, int, int]] = []
    mistyped: set[str] = set()
    inside: set[str] = set()
    section, begin, place = BODY, 0, 0
    for whole in text.splitlines(keepends=True):
        line = whole.splitlines()[0]
        if _RULE.fullmatch(line):
            parts += _closed(text, section, begin, place)
            section, begin = BODY, place + len(line)
        else:
            for heading in headings_in(line):
                parts += _closed(text, section, begin, place + heading.start)
                section, begin = heading.section, place + heading.end
                if heading.mistyped:
                    mistyped.add(section)
                if line[: heading.start].strip():
                    inside.add(section)
        place += len(whole)
    parts += _closed(text, section, begin, len(text))
    return SectionSpans(tuple(parts), frozenset(mistyped), frozenset(inside))


def sectioned(text: str) -> SectionedText:
    """The sections of a report, and which of their headings are out of the ordinary."""
    return section_spans(text).read(text)


class UnusualHeadings:
    """Counts reports whose headings are mistyped or stand inside a line.

    Args:
        sectioned: splits a report.
    """

    def __init__(self, sectioned: Callable[[str], SectionedText] = sectioned) -> None:
        self._sectioned = sectioned
        self._mistyped: list[str] = []
        self._inside: list[str] = []

    def read(self, study: str, text: str) -> dict[str, str]:
        """The sections of a study's report, each on one line; its headings are counted."""
        report = self._sectioned(text)
        if report.mistyped:
            self._mistyped.append(study)
        if report.inside:
            self._inside.append(study)
        return report.on_one_line()

    def problems(self, where: str) -> list[Problem]:
        """A remark for each kind, which names the first study; ``where`` is what holds the reports."""
        remarks = []
        for kind, studies, what in (
            ("mistyped-heading", self._mistyped, "a heading with a mistyped letter, read as the usual name"),
            ("heading-inside-line", self._inside, "a heading inside a line, at which the section ends"),
        ):
            if studies:
                message = f"{len(studies)} reports have {what}; {studies[0]} is the first"
                remarks.append(Problem(kind, where, message, fatal=False))
        return remarks


def split_sections(text: str) -> dict[str, str]:
    """Section name -> text with its line breaks; see ``sectioned``."""
    return sectioned(text).sections


def report_sections(text: str) -> dict[str, str]:
    """Like ``split_sections``, each on one line; see ``SectionedText.on_one_line``."""
    return sectioned(text).on_one_line()


def context_text(sections: Mapping[str, str], age: float | None = None, sex: str | None = None) -> str | None:
    """Demographics, indication and history as text, or None where no word of the last two is left.

    E.g. ``age 54, sex female. indication: chest pain. history: smoker``. Words of de-identification (``___``)
    do not count; age and sex alone do not make a context, since every study has them where any has. Text
    behind ``findings:`` or ``impression:`` is no context, whatever section it stands in.
    """
    texts = {name: before_report_text(sections.get(name, "")) for name in (INDICATION, HISTORY)}
    parts = [f"{name}: {text}" for name, text in texts.items() if has_words(text)]
    if not parts:
        return None
    facts = [] if age is None else [f"age {int(age)}"]
    facts += [] if sex is None else [f"sex {sex}"]
    prefix = f"{', '.join(facts)}. " if facts else ""
    return prefix + ". ".join(part.rstrip(" .") for part in parts)


def before_report_text(context: str) -> str:
    """The part of an indication before ``findings:`` or ``impression:``: what follows is the report's."""
    match = _REPORT_TEXT.search(context)
    starts = [h.start for h in named_headings(context) if h.section in (FINDINGS, IMPRESSION)]
    return context[: min([len(context) if match is None else match.start(), *starts])].strip()


def has_words(text: str) -> bool:
    """Whether a letter or digit is left beside marks of de-identification."""
    return any(character.isalnum() for character in _DEIDENTIFIED.sub("", text))


def _closed(text: str, section: str, start: int, end: int) -> Iterator[tuple[str, int, int]]:
    """A section's part without blanks around it; what follows a one-paragraph section is body."""
    start, end = _stripped(text, start, end)
    if section in _ONE_PARAGRAPH and (blank := _BLANK_LINE.search(text, start, end)):
        yield (BODY, *_stripped(text, blank.end(), end))
        start, end = _stripped(text, start, blank.start())
    if start < end:
        yield section, start, end


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    part = text[start:end]
    return start + len(part) - len(part.lstrip()), end - len(part) + len(part.rstrip())
