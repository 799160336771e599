"""Sections of a free-text radiology report, as the MIMIC-CXR release writes them.

A heading is a line that starts in capitals and a colon (``FINDINGS:``, ``REASON FOR EXAM:``), one of the
usual names in any case with a colon (``Impression:``), or one of them in capitals on a line of its own. A
heading that names the images (``PA AND LATERAL VIEWS OF THE CHEST:``) opens findings; any other unknown one
(``LUNGS:``) belongs to the text it stands in. ``FINAL REPORT`` or a line of underscores ends a wet read or an
addendum.

Text that stands under no heading is ``body``. Indication, history, comparison, technique and examination end
at their first blank line where more text without a heading follows, and that text is body too: it is how
reports without a FINDINGS heading are written, and context taken from the section must not contain it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping

FINDINGS, IMPRESSION, BODY = "findings", "impression", "body"
INDICATION, HISTORY = "indication", "history"
COMPARISON, TECHNIQUE, EXAMINATION = "comparison", "technique", "examination"
WET_READ, ADDENDUM, OTHER = "wet read", "addendum", "other"

_NAMES = {
    FINDINGS: ("findings", "finding", "reference findings", "findings and impression", "findings/impression"),
    IMPRESSION: ("impression", "impressions", "conclusion", "conclusions", "summary"),
    INDICATION: (
        "indication",
        "indications",
        "clinical indication",
        "reason for exam",
        "reason for examination",
        "reason for study",
        "reason for the exam",
        "reason for this examination",
    ),
    HISTORY: ("history", "clinical history", "patient history", "clinical information", "medical history"),
    COMPARISON: ("comparison", "comparisons", "comparison exam", "comparison film", "reference exam"),
    TECHNIQUE: ("technique", "techniques"),
    EXAMINATION: ("examination", "exam", "type of examination", "study", "type of exam"),
    WET_READ: ("wet read", "wetread", "preliminary read"),
    ADDENDUM: ("addendum", "final addendum"),
    BODY: ("final report",),
    OTHER: (
        "notification",
        "notifications",
        "recommendation",
        "recommendations",
        "recommendation(s)",
    ),
}
_SECTION_OF = {name: section for section, names in _NAMES.items() for name in names}
_WHOLE_WORDS = ("findings", "impression", "history", "indication", "comparison", "addendum", "wet read")
"""A longer heading that holds one of these is that section: ``PREOPERATIVE IMPRESSION``."""

_PICTURES = re.compile(
    r"\b(?:chest|portable|views?|radiographs?|frontal|lateral|pa|ap|ribs|upright|semi-?upright)\b"
)
_CAPITALS = re.compile(r"[ \t]*([A-Z][A-Z0-9_ ()/,&.-]{1,70}?)[ \t]*:(?=\s|$)")
_ANY_CASE = re.compile(r"[ \t]*([A-Z][A-Za-z ()/]{1,40}?)[ \t]*:(?=\s|$)")
_RULE = re.compile(r"[ \t]*_{6,}[ \t]*")
_ONE_PARAGRAPH = (INDICATION, HISTORY, COMPARISON, TECHNIQUE, EXAMINATION)
_SHORTEST_BODY = 4
"""Words that text without a heading needs to be taken for findings."""

_DEIDENTIFIED = re.compile(r"_+")


def split_sections(text: str) -> dict[str, str]:
    """Section name -> text with its line breaks; parts of one name are joined, empty ones left out."""
    parts: dict[str, list[str]] = defaultdict(list)
    section, lines = BODY, []
    for line in text.splitlines():
        heading, rest = _heading(line)
        if heading is None and _RULE.fullmatch(line):
            heading, rest = BODY, ""
        if heading is None:
            lines.append(line)
            continue
        _close(parts, section, lines)
        section, lines = heading, [rest]
    _close(parts, section, lines)
    return {name: "\n".join(pieces) for name, pieces in parts.items()}


def report_sections(text: str) -> dict[str, str]:
    """Like ``split_sections``, each on one line; body stands in for findings that have no heading.

    Body counts as findings where no heading opened any and it has four words and a full stop: a title such as
    ``CHEST, TWO VIEWS`` has not.
    """
    sections = {name: " ".join(part.split()) for name, part in split_sections(text).items()}
    body = sections.get(BODY, "")
    if FINDINGS not in sections and "." in body and len(body.split()) >= _SHORTEST_BODY:
        sections[FINDINGS] = body
    return sections


def context_text(sections: Mapping[str, str], age: float | None = None, sex: str | None = None) -> str | None:
    """Demographics, indication and history as text, or None where no word of the last two is left.

    E.g. ``age 54, sex female. indication: chest pain. history: smoker``. Words of de-identification (``___``)
    do not count; age and sex alone do not make a context, since every study has them where any has.
    """
    parts = [
        f"{name}: {sections[name]}" for name in (INDICATION, HISTORY) if has_words(sections.get(name, ""))
    ]
    if not parts:
        return None
    facts = [] if age is None else [f"age {int(age)}"]
    facts += [] if sex is None else [f"sex {sex}"]
    prefix = f"{', '.join(facts)}. " if facts else ""
    return prefix + ". ".join(part.rstrip(" .") for part in parts)


def has_words(text: str) -> bool:
    """Whether a letter or digit is left beside marks of de-identification."""
    return any(character.isalnum() for character in _DEIDENTIFIED.sub("", text))


def _heading(line: str) -> tuple[str | None, str]:
    """The section that a line opens and the rest of the line; None where it opens none."""
    alone = line.strip().rstrip(":")
    if alone.isupper() and alone.lower() in _SECTION_OF:
        return _section(alone), ""
    match = _CAPITALS.match(line)
    if match:
        section = _section(match[1])
        return section, line[match.end() :] if section else ""
    match = _ANY_CASE.match(line)
    if match and match[1].strip().lower() in _SECTION_OF:
        return _section(match[1]), line[match.end() :]
    return None, ""


def _section(heading: str) -> str | None:
    name = " ".join(heading.lower().split())
    if name in _SECTION_OF:
        return _SECTION_OF[name]
    for whole in _WHOLE_WORDS:
        if re.search(rf"\b{whole}\b", name):
            return _SECTION_OF[whole]
    return FINDINGS if _PICTURES.search(name) else None


def _close(parts: dict[str, list[str]], section: str, lines: list[str]) -> None:
    """File the lines under their section, and what follows a one-paragraph section under body."""
    text = "\n".join(lines).strip()
    if section in _ONE_PARAGRAPH:
        text, *more = re.split(r"\n[ \t]*\n", text, maxsplit=1)
        if more and more[0].strip():
            parts[BODY].append(more[0].strip())
    if text.strip():
        parts[section].append(text.strip())
