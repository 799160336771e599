"""The layout of a report as sentences: bullets, numbers, headings and answers become plain clauses.

Negex ends the scope of a negation at the end of a sentence and at words such as "but". People and language
models end it with line breaks, bullets, dashes and colons, too, and they answer questions ("Effusion: no").
``plain`` rewrites all of these, so that one full stop or semicolon stands where a scope ends.
"""

from __future__ import annotations

import html
import re
from collections.abc import Collection

from harness.metrics.clinical.report_answers import (
    ANSWER,
    DENIED,
    MAYBE,
    NO,
    STATED,
    TICKED,
    UNTICKED,
    YES,
    with_answers,
)
from harness.metrics.clinical.report_marks import MARKS, MARKUP, REPORTING, with_bullets, without_footnotes
from harness.metrics.clinical.report_records import with_records
from harness.metrics.clinical.report_rewrites import Rewrite, rewrite, rewritten
from harness.metrics.clinical.report_wording import CHANGES, DOUBTS, WORDS
from harness.metrics.text.characters import plain_characters

_BULLET = (
    r"(?:[*•·‣▪◦●■►▶➢✓∙\u2043\u2013—>+-]+[ \t]*(?!ve\b)|\(?\d{1,2}[.):][ \t]*(?!\d)"
    r"|(?:[a-z]|i{2,3}|iv|vi{1,3}|ix)[.)][ \t]+"
    r"|(?-i:o[ \t]+(?=[A-Z])))"
)
_BULLETED = re.compile(_BULLET + r"(?=[\w(\"'\[])", re.IGNORECASE)
_OPEN_END = re.compile(
    r"(?:,|(?<![:=?])(?<![:=?] )\b(?:a|an|and|are|as|at|be|by|for|from|in|into|is|large|left|mild|no|of|on|or"
    r"|right|small|the|to|versus|vs|was|were|with|within|without|may|could|not|nor|focal|acute|pleural|pulmonary))$",
    re.IGNORECASE,
)
_CONTINUES = re.compile(
    rf"(?:or|nor|and|but|is|are|was|were|has|have|had|in|on|at|of|to|by|for|from|with|without|within|as|that|which"
    rf"|than|versus|vs|not|may|can|cannot|could|{STATED})\b"
)
_WRAPPED, _SHORT = 60, 30
"""A line of so many characters was probably broken by a typewriter's margin; a short one by its author."""

_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z]{2,8});", re.IGNORECASE)
_SEAM = re.compile("[^\\W\\d_]+(?:[\u200b\ufeff][^\\W\\d_]+)+")
"""Words or parts of words with a zero-width space between them."""

_NAME = r"(?P<name>\b[A-Za-z][A-Za-z/' -]{2,60}?)"
_END = r"[ \t]*(?=[.;,|\n]|/\s|$|(?:[A-Z][A-Za-z/ ]{2,40}(?::|\((?:[+?-]))))"
_VERB = re.compile(
    r"\b(?:is|are|was|were|has|have|had|remains?|appears?|shows?|demonstrates?|there|seen|may|can|could)\b",
    re.I,
)
_NEGATOR = re.compile(r"(?:no(?:t|ne)?|without|absent|negative|free of)\b(?! (?:\w+ )?chang)", re.I)
_ASKING = (
    r"(?:clinical |patient )?(?:indications?|history|information|question|data|details)"
    r"|reasons? for (?:the )?(?:exam(?:ination)?|study|referral)|comparisons?|techniques?"
    r"|exam(?:ination)?|procedure"
)


def plain(text: str, words: Collection[str] = ()) -> str:
    """``text`` on one line, with a full stop or a semicolon wherever the scope of a negation ends.

    ``No edema 2. XXXX opacity`` becomes ``No edema . xxxx opacity``: a number begins a sentence. A line break
    may stand inside a sentence, but an empty line, a bullet, or a capital on the next line ends one.
    ``Effusion: no`` becomes ``no Effusion``. Spelling is American, abbreviations such as ``w/o`` are written
    out, and all wordings of "cannot exclude" become one.

    Args:
        text: of a report.
        words: in lower case; a zero-width space between two of them separates them, elsewhere it goes.
    """
    text = _SEAM.sub(lambda match: _seam(match[0], words), text) if words else text
    text = _ENTITY.sub(lambda match: html.unescape(match[0]), text.strip())
    text = with_bullets(plain_characters(without_footnotes(text)))
    text = rewritten(with_records(text), MARKS)
    text = rewritten(with_answers(text), MARKUP)
    text = rewritten(_joined(text.splitlines()), WORDS)
    text = rewritten(text, _CLAUSES)
    return " ".join(text.split())


def _seam(text: str, words: Collection[str]) -> str:
    """``text`` with a space for each zero-width space that stands between two words."""
    joined, *rest = re.split("[\u200b\ufeff]", text)
    for index, part in enumerate(rest):
        last = re.split(r"\W", joined)[-1].lower()
        are_words = last in words and (part.lower() in words or "".join(rest[index:]).lower() in words)
        joined += f" {part}" if are_words else part
    return joined


def _joined(lines: list[str]) -> str:
    """Lines as one, with `` . `` between lines that do not continue each other."""
    parts: list[str] = []
    before = ""
    for line in lines:
        line = line.strip()
        bullet = _BULLETED.match(line)
        if bullet:
            line = line[bullet.end() :]
        if parts and (bullet or _ends(before, line)):
            parts.append(" . ")
        parts += [line, " "]
        before = line
    return "".join(parts)


def _ends(before: str, line: str) -> bool:
    """Whether a sentence ends between two lines."""
    if not before or not line:
        return True
    if _OPEN_END.search(before):
        return False
    if not line[0].isupper():
        return len(f"{before} {line.split()[0]}") <= _SHORT and not _CONTINUES.match(line)
    return len(before) < _WRAPPED or not line.split()[0].strip(".,").isupper()


def _answered(match: re.Match[str]) -> str:
    name = match["name"].strip()
    if match["unknown"]:
        return " . "
    if match["no"]:
        return f" . no {name} . "
    return f" . possible {name} . " if match["maybe"] else f" . {name} present . "


def _asked(match: re.Match[str]) -> str:
    """A name with a question mark is a doubt; a question without an answer states nothing."""
    name = match["name"].strip()
    return " . " if _VERB.match(name) else f" . possible {name} . "


def _headed(match: re.Match[str]) -> str:
    """What stands before a colon names what follows; alone it states nothing."""
    name, rest = match["name"].strip(), match["rest"].strip()
    if not rest:
        return f" . {name} . "
    if _NEGATOR.match(name) or _VERB.search(name):
        return f" . {name} ; {rest}"
    if _NEGATOR.match(rest) and not (_ANATOMY.fullmatch(name) and rest.lower().startswith("not ")):
        return f" . no {name} ; {rest}"
    return f" . {rest}" if _VERB.search(rest) and not _ANATOMY.fullmatch(name) else f" . {name} {rest}"


def _clause(match: re.Match[str]) -> str:
    """A semicolon for a comma that begins a clause of its own; a comma inside a list stays."""
    sentence = re.split(r"[.;]", match.string[: match.start()])[-1]
    enumerated = "," in sentence and _LISTED.fullmatch(match["verb"].strip())
    each_denied = all(map(_DENIED_ITEM.match, items := sentence.split(","))) and len(items) > 1
    if _ADJECTIVE.search(sentence) or (enumerated and not each_denied and not _DEGREE.search(match["words"])):
        return match[0]
    return f" ; {match['words']}{match['verb']}"


_ANATOMY = re.compile(
    r"(?:the )?(?:heart|heart size|cardiac(?: silhouette| size| contour)?"
    r"|cardiomediastinal (?:silhouette|contours?)"
    r"|mediastin(?:um|al (?:contours?|silhouette))|lungs?|aorta)",
    re.I,
)
_ADJECTIVE = re.compile(
    r"\b(?:acute|chronic|displaced|focal|significant|definite|large|small|obvious|confluent|suspicious|gross|overt"
    r"|new|other|visible|old|dense|patchy|stable|mild|moderate|severe)\s*$",
    re.I,
)
_DENIED_ITEM = re.compile(r"\s*(?:there (?:is|are) )?(?:no|without)\b", re.I)
_LISTED = re.compile(rf"(?:is|are|was|were) {STATED}", re.I)
_DEGREES = (
    r"(?:mild|moderate|severe|small|large|minimal|tiny|trace|stable|unchanged|chronic|persistent|old|healed"
    r"|slight|subtle|marked|extensive)"
)
_DEGREE = re.compile(rf"\b(?:a|an|the|there|{_DEGREES}|mildly|moderately|left|right|bilateral)\b", re.I)
_WORD = r"(?!(?:or|nor|no|and|which|that|without)\b)[\w/'-]+[ ]+"
_DENIES = r"(?:no|not|without|free of|clear of|negative for)"
_FINITE = r"(?:is|are|was|were|has|have|remains?|persists?|appears?|shows?|demonstrates?|continues?)"


_LIST_MARKS = (
    rewrite("(0)", r"\((?:(0)|1)\)", lambda match: "(no) . " if match[1] else "(yes) . "),
    rewrite("?", r"\b(?:q|question)[ ]*:[ ]*(?=[^?]{3,120}\?)", " . "),
    rewrite("?", r"\?\s*(?:a|ans|answer)[ ]*[:.][ ]*", "? "),
    rewrite(
        "0 1 2 3 4 5 6 7 8 9", r"(?:^|(?<=[\s.;:,]))\(?\d{1,2}[.):]\s*(?=[A-Za-z])(?!(?:cm|mm)\b)", " . "
    ),
    rewrite("0 1 2 3 4 5 6 7 8 9", r"(?:^|(?<=\s))\d{1,2}[.)](?=\s)|\[\d{1,2}\]", " . "),
    rewrite("1 2 3 4 5 6 7 8 9", r"(?-i:(?<=[a-z]{3})\d{1,2}[.)]\s*(?=[A-Z]))", " . "),
    rewrite("#", r"(?:^|(?<=\s))#\d{1,2}[ ]+(?=[a-z])", " . "),
    rewrite("1 2 3 4 5 6 7 8 9", r"(?-i:(?:^|(?<=\s))\d{1,2}(?:[ ]+|-[ ]*)(?=[A-Z][a-z]))", " . "),
    rewrite("b) a)", r"(?:^|(?<=\s))\(?[a-h]\)\s", " . "),
    Rewrite((" o ",), re.compile(r"(?<=\s)o\s+(?=[A-Z])"), " . "),
    rewrite(
        ".",
        r"\.(?<=[a-z]{4}\.)(?=[a-z]{4})|\.(?<=[a-z]{3}\.)(?=(?-i:[A-Z])[a-z]|(?:no|the|there|mild|small)\b)|\.{2,}",
        " . ",
    ),
    rewrite("(", r"(?:^|(?<=[.;,]\s))\(-\)\s*(?=[a-z])", " . no "),
    rewrite("(", r"(?:^|(?<=[.;,]\s))\(\+\)\s*(?=[a-z])", " . "),
    rewrite("[ ( ☐ ✗ ✘ ❌ ✕ ✖ ❎", rf"[:=][ ]*(?={UNTICKED}|{TICKED})", " "),
    rewrite("[ ( ☐ ✗ ✘ ❌ ✕ ✖ ❎", rf"{UNTICKED}(?=\s*(?:no|without)\b)", " . "),
    rewrite("[ ( ☐ ✗ ✘ ❌ ✕ ✖ ❎", UNTICKED, " . no "),
    rewrite("[x (x ☑ ☒ ✓ ✔ ✅", TICKED, " . "),
    rewrite("|", r"\|", " . "),
    rewrite("//", r"(?<!:)//", " . "),
    rewrite("&", r"\s&\s", " and "),
    rewrite(",", r"(?<=[a-z]),(?=[a-z])", ", "),
    rewrite("• · ‣ ▪ ◦ ● ■ ► ▶ ➢ ∙ \u2043", r"[•·‣▪◦●■►▶➢∙\u2043]", " . "),
    rewrite("~", r"\s~+\s|(?<=[a-z])~+(?=[a-z])", " ; "),
    rewrite("+", r"(?<=[a-z)])[ ]+\++[ ]+(?=[a-z])", " , "),
)
_ABSENCE = (
    rf"(?:absent|nil|none|negative|denied|resolved|unlikely|excluded|ruled out|(?:not|no longer) {STATED})"
)
_CLAUSES = (
    *_LIST_MARKS,
    rewrite("+ -", r"(?<=[a-z]{3})[ ]?([-+])(?=\s*(?:[,;.]|$))", r": \1"),
    rewrite(":", rf"(?:^|(?<=[.;]\s))\s*(?:{_ASKING})\s*:.{{0,2000}}?(?=\b{REPORTING}\s*:)", " . "),
    rewrite(":", rf"(?:^|(?<=[.;]\s))\s*(?:{_ASKING})\s*:[^.\n]*", " . "),
    rewrite(
        ":",
        r"\b((?:no|without|not|negative|free|none)\b[^.;:,]{0,40}?\b(?:of|for|following)),?[ ]*:[ ]*",
        r"\1 ",
    ),
    rewrite(":", r"\b(no|without|negative for|free of)[ ]*:[ ]*", r"\1 "),
    rewrite(":", rf"(?:^|(?<=[.;]\s)){DENIED}[ ]*:[ ]*(?=\w)", "no "),
    *DOUBTS,
    *CHANGES,
    rewrite(
        "yes no + - n/a negative positive",
        r"[ ](?<=[a-z]{3}[ ])(?=(?:yes|no|\+|-|n/a|negative|positive)[ ]*(?:[,;.]|$))",
        ": ",
    ),
    rewrite(
        ": = ? - \u2013 \u2014 →",
        rf"{_NAME}[ ]*(?:[:=?→]|[ ]?—|[ ][\u2013-]+>?(?=[ ]))[ ]*{ANSWER}{_END}",
        _answered,
    ),
    rewrite(
        "(",
        rf"{_NAME}[ ]*\((?:(?P<unknown>n/?a)|(?P<no>{NO}|-+)|(?P<yes>{YES}|\++)|(?P<maybe>{MAYBE}|\?))\)",
        _answered,
    ),
    rewrite("?", rf"{_NAME}[ ]*\?", _asked),
    rewrite(":", rf"(?:^|(?<=[.;!?]\s)){_NAME}[ ]*:(?P<rest>[^.;\n]*)", _headed),
    rewrite(
        "probability likelihood suspicion confidence",
        rf"{_NAME}[ ]*\([ ]*(?:probability|likelihood|suspicion|confidence)[ ]*[:= ][ ]*"
        r"(?:(?P<unknown>unknown)|(?P<no>(?:very )?low|none)"
        r"|(?P<maybe>moderate|medium|intermediate)|(?P<yes>(?:very )?high))\)",
        _answered,
    ),
    rewrite("- \u2013 — → : =>", r"\s+(?:-+|\u2013+)>?\s+|—|→|=>|[:]\s", " ; "),
    rewrite("= >", r"(?<=[a-z)])[ ]+(?:=+|>+)[ ]+(?=[a-z])(?!(?:left|right|than)\b)", " ; "),
    rewrite(
        "- \u2013",
        r"(?<!non)(?<!post)(?<!pre)(?<!mass)\s[-\u2013]+(?=[a-z])|(?<=[a-z])[-\u2013]\s+(?=[a-z])",
        " ; ",
    ),
    rewrite("--", r"(?<=\w)--+(?=\w)", " ; "),
    rewrite(
        "- \u2013", rf"\b(?!{_DEGREES}\b)([a-z]{{4,}})[-\u2013](?=(?:{_DEGREES}|there|heart)\b)", r"\1 ; "
    ),
    rewrite(";", r";(?=\S)", " ; "),
    rewrite("\\ >> » $ %", r"\s+(?:\\+|>>+|»|\$+)\s+|(?<=[a-z.,;)])\s+%+\s+(?=[a-z])", " ; "),
    rewrite("/", rf"\s/\s(?=(?:{_DEGREES}|there|no)\b)", " ; "),
    rewrite("/", r"\s/\s", " , "),
    rewrite("vs versus", r"\((?=[^()]*[a-z]{4}[^()]* (?:vs|versus)\b)", " ; "),
    rewrite("(", rf"\((?=(?:{_DEGREES}|there|but)\b)(?![^()]*\bor\b)", " ; "),
    rewrite(
        "absent nil none negative denied resolved unlikely excluded out not longer",
        rf"\b({_ABSENCE})(?:\s*,|(?=\s+and\b))(?!\s+(?:or|nor)\b)",
        r"\1 ;",
    ),
    rewrite(
        "present seen noted positive yes",
        rf"\b(present|seen|noted|positive|yes)\s*,\s+(?=[^.;,]*\b{_ABSENCE}\b)",
        r"\1 ; ",
    ),
    rewrite("while whereas", r",?\s(?:while|whereas)\s", " ; "),
    rewrite(
        " and ",
        rf"(\b{_DENIES}\b[^.;]{{0,200}}?),? and"
        rf" (?=(?:the|there|heart|cardiac|mediast\w+|lungs?|aorta)\b[^.;,]{{0,60}}?\b{_FINITE}\b)",
        r"\1 ; ",
    ),
    rewrite(" and a", rf"(\b{_DENIES}\b[^.;]{{0,200}}?),? and (?=an? (?:\w+ )?{_DEGREES}\b)", r"\1 ; "),
    rewrite(
        " and ",
        rf"(\b{_FINITE}\b[^.;]{{0,200}}?),? and (?=(?:\w+ ){{1,4}}?is (?:not|no longer|absent|unlikely)\b)",
        r"\1 ; ",
    ),
    rewrite(
        ",",
        rf"(\b{_DENIES}\b[^.;,]{{0,200}}),\s+(?=(?:{_WORD}){{1,4}}(?:present|noted)[ ]*(?:[.;]|$))",
        r"\1 ; ",
    ),
    rewrite(",", rf",\s+(?P<words>(?:{_WORD}){{0,6}}?)(?P<verb>{_FINITE}\b(?: \w+)?)", _clause),
    rewrite(",", rf",\s+(?=(?:{_DEGREES}|there|status post)\b(?![^.;]*\b(?:or|nor)\b))", " ; "),
    rewrite(
        " no ",
        r"(\bis (?:normal|unremarkable), no [^.;,]{3,40}),\s+(?=(?:left|right|bilateral)\b[^.;,]*(?:[.;]|$))",
        r"\1 ; ",
    ),
)
"""In this order: list marks, sections, doubts, answers, headings, dashes, clauses."""
