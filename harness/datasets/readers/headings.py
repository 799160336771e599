"""Headings of a free-text radiology report: usual names, names with one mistyped letter, names of images."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

FINDINGS, IMPRESSION, BODY = "findings", "impression", "body"
INDICATION, HISTORY = "indication", "history"
COMPARISON, TECHNIQUE, EXAMINATION = "comparison", "technique", "examination"
WET_READ, ADDENDUM, OTHER = "wet read", "addendum", "other"

_NAMES = {
    FINDINGS: (
        "findings",
        "finding",
        "finding(s)",
        "reference findings",
        "findings and impression",
        "findings & impression",
        "findings/impression",
        "findings / impression",
        "impression and findings",
        "impression/findings",
        "observation",
        "observations",
        "result",
        "results",
    ),
    IMPRESSION: (
        "impression",
        "impressions",
        "impression(s)",
        "conclusion",
        "conclusions",
        "summary",
        "opinion",
        "interpretation",
        "imp",
    ),
    INDICATION: (
        "indication",
        "indications",
        "indication(s)",
        "clinical indication",
        "clinical indications",
        "reason for exam",
        "reason for examination",
        "reason for study",
        "reason for the exam",
        "reason for this exam",
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

_SHORTEST_MISTYPED = 7
"""Letters of a name that may be mistyped; one letter makes another word of a shorter one."""
_MOST_WORDS = 5
_UNMISTAKABLE = (FINDINGS, IMPRESSION, INDICATION, HISTORY)
_SHORTEST_UNMISTAKABLE = 8
"""``findings`` in small letters, or before a full stop, is a heading; ``study`` is not."""

_IMAGES = re.compile(
    r"\b(?:chest|portable|views?|radiographs?|frontal|lateral|pa|ap|ribs|upright|semi-?upright)\b"
)
_CAPITALS = re.compile(r"[ \t]*([A-Z][A-Z0-9_ ()/,&.-]{1,70}?)[ \t]*:(?=\s|$)")
_ANY_CASE = re.compile(r"[ \t]*([A-Z][A-Za-z ()/&]{1,40}?)[ \t]*:")
_OTHER_MARK = re.compile(r"[ \t]*([A-Z][A-Z ()/&]{4,40}?)(?:[ \t]*;|\.|[ \t]+[-\u2013\u2014=])(?=\s|$)")
"""A heading with another mark than a colon: known names in capitals alone."""
_INSIDE = re.compile(
    r"\b(?P<bare>FINAL REPORT\b[ \t]*:?"
    r"|(?:FINDINGS (?:AND|&|/) )?(?:FINDINGS|IMPRESSION)(?=[ \t]+[A-Z][a-z]))"
    r"|(?<![A-Za-z])(?P<name>[A-Za-z()/&]+(?:[ \t]+[A-Za-z()/&]+){0,4})[ \t]*:"
)
"""Names that need no colon, the last two where text that is not in capitals follows; or words and a colon."""
_MAY_HOLD_ONE = re.compile(r":|FINAL REPORT|FINDINGS|IMPRESSION")
_WORD = re.compile(r"\S+")
_SENTENCE_END = re.compile(r"(?:^|[.;:?!)\]_])\s*$")


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading in a line.

    Attributes:
        start, end: its place in the line, colon included.
        section: the section that it opens.
        mistyped: its name has a letter too many or too few, another one, or two in each other's place.
    """

    start: int
    end: int
    section: str
    mistyped: bool = False


def headings_in(line: str) -> Iterator[Heading]:
    """The headings of a line in order: the one that the line starts with, and those that stand inside it.

    Those inside it are usual names before a colon, in capitals, or else behind the end of a sentence.
    """
    first = _at_start(line)
    place = 0
    if first is not None:
        yield first
        place = first.end
    yield from named_headings(line, place)


def named_headings(line: str, place: int = 0) -> Iterator[Heading]:
    """Headings with usual names behind ``place``, whatever stands before them."""
    if not _MAY_HOLD_ONE.search(line, place):
        return
    for match in _INSIDE.finditer(line, place):
        heading = _inside(line, match, place)
        if heading is not None:
            yield heading
            place = heading.end


def section_of(name: str) -> str | None:
    """The section that a usual name opens, whatever its case; one letter may be mistyped."""
    return _named(name)[0]


def _at_start(line: str) -> Heading | None:
    alone = line.strip().rstrip(": \t")
    section, mistyped = _named(alone)
    if section is not None and (alone.isupper() or (alone.istitle() and not mistyped)):
        return Heading(0, len(line), section, mistyped)
    match = _CAPITALS.match(line)
    if match:
        section, mistyped = _named(match[1])
        if section is None:
            section, mistyped = _described(match[1])
        return Heading(0, match.end(), section, mistyped) if section else None
    match = _ANY_CASE.match(line)
    if match:
        section, mistyped = _named(match[1])
        return Heading(0, match.end(), section, mistyped) if section else None
    match = _OTHER_MARK.match(line)
    if match and _is_unmistakable(match[1]):
        return Heading(0, match.end(), _SECTION_OF[_plain(match[1])])
    return None


def _inside(line: str, match: re.Match[str], after: int) -> Heading | None:
    """The heading that ends a run of words before a colon: the longest name wins."""
    if match["bare"]:
        return Heading(match.start(), match.end(), _SECTION_OF[_plain(match["bare"].rstrip(": \t"))])
    for word in _WORD.finditer(match["name"]):
        start, name = match.start() + word.start(), match["name"][word.start() :]
        ends = _SENTENCE_END.search(line[after:start])
        if not (name.isupper() or (ends and (name[0].isupper() or _is_unmistakable(name)))):
            continue
        section, mistyped = _named(name)
        if section is not None:
            return Heading(start, match.end(), section, mistyped)
    return None


def _is_unmistakable(name: str) -> bool:
    usual = _plain(name)
    return len(usual) >= _SHORTEST_UNMISTAKABLE and _SECTION_OF.get(usual) in _UNMISTAKABLE


def _plain(name: str) -> str:
    return " ".join(name.lower().split())


@lru_cache(4096)
def _named(heading: str) -> tuple[str | None, bool]:
    """The section of a usual name, and whether the name is mistyped; None where it is none of them."""
    name = _plain(heading)
    if name in _SECTION_OF:
        return _SECTION_OF[name], False
    if len(name.split()) > _MOST_WORDS:
        return None, False
    for usual, section in _SECTION_OF.items():
        if len(usual) >= _SHORTEST_MISTYPED and one_letter_apart(name, usual):
            return section, True
    return None, False


def _described(heading: str) -> tuple[str | None, bool]:
    """The section of a longer heading that holds a usual name, mistyped or not, or that names the images."""
    name = _plain(heading)
    for whole in _WHOLE_WORDS:
        if re.search(rf"\b{whole}\b", name):
            return _SECTION_OF[whole], False
    for word in name.split():
        section, mistyped = _named(word)
        if mistyped:
            return section, True
    return (FINDINGS if _IMAGES.search(name) else None), False


def one_letter_apart(a: str, b: str) -> bool:
    """Whether ``a`` is ``b`` with one letter more, less or changed, or with two neighbours exchanged."""
    if abs(len(a) - len(b)) > 1 or a == b:
        return False
    start = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    left, right = a[start:], b[start:]
    return (
        left[1:] == right[1:]
        or left[1:] == right
        or left == right[1:]
        or (left[:2] == right[1::-1] and left[2:] == right[2:] and len(left) > 1)
    )
