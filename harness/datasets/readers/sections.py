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
from collections.abc import Mapping
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


def sectioned(text: str) -> SectionedText:
    """The sections of a report, and which of their headings are out of the ordinary."""
    parts: dict[str, list[str]] = defaultdict(list)
    mistyped: set[str] = set()
    inside: set[str] = set()
    section, lines = BODY, list[str]()
    for line in text.splitlines():
        if _RULE.fullmatch(line):
            _close(parts, section, lines)
            section, lines = BODY, [""]
            continue
        place = 0
        for heading in headings_in(line):
            lines.append(line[place : heading.start])
            _close(parts, section, lines)
            section, lines, place = heading.section, [], heading.end
            if heading.mistyped:
                mistyped.add(section)
            if line[: heading.start].strip():
                inside.add(section)
        lines.append(line[place:])
    _close(parts, section, lines)
    sections = {name: "\n".join(pieces) for name, pieces in parts.items()}
    return SectionedText(sections, frozenset(mistyped), frozenset(inside))


class UnusualHeadings:
    """Counts reports whose headings are mistyped or stand inside a line."""

    def __init__(self) -> None:
        self._mistyped: list[str] = []
        self._inside: list[str] = []

    def read(self, study: str, text: str) -> dict[str, str]:
        """The sections of a study's report, each on one line; its headings are counted."""
        report = sectioned(text)
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


def _close(parts: dict[str, list[str]], section: str, lines: list[str]) -> None:
    """File the lines under their section, and what follows a one-paragraph section under body."""
    text = "\n".join(lines).strip()
    if section in _ONE_PARAGRAPH:
        text, *more = re.split(r"\n[ \t]*\n", text, maxsplit=1)
        if more and more[0].strip():
            parts[BODY].append(more[0].strip())
    if text.strip():
        parts[section].append(text.strip())
