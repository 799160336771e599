"""The layout of a report as sentences: bullets, numbers, headings and answers become plain clauses.

Negex ends the scope of a negation at the end of a sentence and at words such as "but". People and language
models end it with line breaks, bullets, dashes and colons, too, and they answer questions ("Effusion: no").
``plain`` rewrites all of these, so that one full stop or semicolon stands where a scope ends.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from harness.metrics.text.characters import plain_characters


class _Rewrite(NamedTuple):
    """A pattern and what replaces it, for texts that hold one of ``signs`` (lower case)."""

    signs: tuple[str, ...]
    pattern: re.Pattern[str]
    replacement: str | Callable[[re.Match[str]], str]


_BULLET = r"(?:[*•·‣▪◦●■►▶➢✓\u2013—>+-]+[ \t]*|\(?\d{1,2}[.):][ \t]*(?!\d)|[a-z][.)][ \t]+)"
_BULLETED = re.compile(_BULLET + r"(?=[\w(\"'\[])", re.IGNORECASE)
_OPEN_END = re.compile(
    r"(?:,|(?<![:=?])(?<![:=?] )\b(?:a|an|and|are|as|at|be|by|for|from|in|into|is|large|left|mild|no|of|on|or"
    r"|right|small|the|to|versus|vs|was|were|with|within|without|may|could|not|nor|focal|acute|pleural|pulmonary))$",
    re.IGNORECASE,
)
_TAB = re.compile(r"\t(?=[A-Z])")
_WRAPPED = 60
"""A line of so many characters was probably broken by a typewriter's margin, not by its author."""

_STATED = (
    r"(?:seen|present|identified|evident|visible|visuali[sz]ed|noted|detected|demonstrated|appreciated|found)"
)
_NO = (
    rf"(?:no(?:ne)?(?: (?:evidence|{_STATED}))?|nil|absent|negative|neg|not {_STATED}|\(-+\)|-+|false|0|n"
    r"|unlikely|excluded|ruled out|not applicable)"
)
_YES = rf"(?:yes|{_STATED}|positive|pos|\(\++\)|\++|true|1|y|confirmed)"
_MAYBE = (
    r"(?:possibl[ey]|probabl[ey]|likely|uncertain|equivocal|questionable|suspected|maybe|indeterminate|\(\?\)"
    r"|cannot be excluded|cannot exclude)"
)
_NAME = r"(?P<name>\b[A-Za-z][A-Za-z/' -]{2,60}?)"
_END = r"[ \t]*(?=[.;,|\n]|$|(?:[A-Z][A-Za-z/ ]{2,40}(?::|\((?:[+?-]))))"
_ANSWER = rf"(?:(?P<no>{_NO})|(?P<yes>{_YES})|(?P<maybe>{_MAYBE}))"
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


def plain(text: str) -> str:
    """``text`` on one line, with a full stop or a semicolon wherever the scope of a negation ends.

    ``No edema 2. XXXX opacity`` becomes ``No edema . xxxx opacity``: a number begins a sentence. A line break
    may stand inside a sentence, but an empty line, a bullet, or a capital on the next line ends one.
    ``Effusion: no`` becomes ``no Effusion``. Spelling is American, abbreviations such as ``w/o`` are written
    out, and all wordings of "cannot exclude" become one.
    """
    text = _TAB.sub("\n", plain_characters(text.strip()))
    text = _rewritten(text, _BEFORE_LINES)
    text = _rewritten(_joined(text.splitlines()), _WORDS)
    text = _rewritten(text, _CLAUSES)
    return " ".join(text.split())


def _rewritten(text: str, rewrites: Sequence[_Rewrite]) -> str:
    lower = text.lower()
    for signs, pattern, replacement in rewrites:
        if any(sign in lower for sign in signs):
            text = pattern.sub(replacement, text)
    return text


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
    if not line[0].isupper() or _OPEN_END.search(before):
        return False
    return len(before) < _WRAPPED or not line.split()[0].strip(".,").isupper()


def _answered(match: re.Match[str]) -> str:
    name = match["name"].strip()
    if match["no"]:
        return f" . no {name} . "
    return f" . possible {name} . " if match["maybe"] else f" . {name} present . "


def _headed(match: re.Match[str]) -> str:
    """What stands before a colon names what follows; alone it states nothing."""
    name, rest = match["name"].strip(), match["rest"].strip()
    if not rest:
        return f" . {name} . "
    if _NEGATOR.match(name) or _VERB.search(name):
        return f" . {name} ; {rest}"
    if _NEGATOR.match(rest):
        return f" . no {name} ; {rest}"
    return f" . {rest}" if _VERB.search(rest) and not _ANATOMY.fullmatch(name) else f" . {name} {rest}"


def _clause(match: re.Match[str]) -> str:
    """A semicolon for a comma that begins a clause of its own; a comma inside a list stays."""
    sentence = re.split(r"[.;]", match.string[: match.start()])[-1]
    enumerated = "," in sentence and _LISTED.fullmatch(match["verb"].strip())
    if _ADJECTIVE.search(sentence) or (enumerated and not _DEGREE.search(match["words"])):
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
_LISTED = re.compile(rf"(?:is|are|was|were) {_STATED}", re.I)
_DEGREES = (
    r"(?:mild|moderate|severe|small|large|minimal|tiny|trace|stable|unchanged|chronic|persistent|old|healed)"
)
_DEGREE = re.compile(rf"\b(?:a|an|the|there|{_DEGREES}|mildly|moderately|left|right|bilateral)\b", re.I)
_WORD = r"(?!(?:or|nor|no|and|which|that|without)\b)[\w/'-]+[ ]+"
_DENIES = r"(?:no|not|without|free of|clear of|negative for)"
_FINITE = r"(?:is|are|was|were|has|have|remains?|persists?|appears?|shows?|demonstrates?|continues?)"


def _rewrite(signs: str, pattern: str, replacement: str | Callable[[re.Match[str]], str]) -> _Rewrite:
    return _Rewrite(tuple(signs.split()), re.compile(pattern, re.IGNORECASE | re.MULTILINE), replacement)


_BEFORE_LINES = (
    _rewrite("<", r"<br\s*/?>", "\n"),
    _rewrite("<", r"</?(?:p|li|ul|ol|h\d)\s*/?>", "\n\n"),
    _rewrite("<", r"</?[a-z][a-z0-9]{0,9}\s*/?>", " "),
    _rewrite("* _ ` #", r"\*\*|__+(?=\w)|(?<=\w)__+|`+|^#+[ \t]*", ""),
    _rewrite("---", r"^[ \t]*\|?[ \t:|-]*-{3,}[ \t:|-]*$", ""),
    _rewrite("|", r"^[ \t]*\|[ \t]*([^|\n]+?)[ \t]*\|[ \t]*([^|\n]+?)[ \t]*\|?[ \t]*$", r"\1: \2.\n"),
)
"""Markup goes, and a row of a table becomes ``name: answer``."""

_CANNOT = r"(?:can ?not|could not)"
_HARDLY = r"(?:difficult|hard|impossible|not possible|no way)"
_OUT = r"(?:exclude|rule out)"
_WORDS = (
    _rewrite('{ } "', r"[{}\"]", ""),
    _rewrite("can't", r"\bcan't\b", "cannot"),
    _rewrite("n't", r"n't\b", " not"),
    _rewrite("xx", r"\bX{2,}\b", "xxxx"),
    _rewrite("w/o", r"\bw/o\b", "without"),
    _rewrite("w/", r"\bw/(?=\s|[a-z])", "with "),
    _rewrite("c/w", r"\bc/w\b", "consistent with"),
    _rewrite("r/o rule-out", r"\b(?:r/o|rule-out)\b", "rule out"),
    _rewrite("h/o", r"\bh/o\b", "history of"),
    _rewrite("s/p", r"\bs/p\b", "status post"),
    _rewrite("ptx", r"\bptx\b", "pneumothorax"),
    _rewrite("oedema", r"\boedema", "edema"),
    _rewrite("haemo", r"haemo", "hemo"),
    _rewrite("haem", r"haem", "hem"),
    _rewrite("tumour", r"\btumour", "tumor"),
    _rewrite("oesoph", r"\boesoph", "esoph"),
    _rewrite("calibre centre", r"\b(calib|cent)re\b", r"\1er"),
    _rewrite(
        "is",
        r"\b(visual|local|cavit|character|central|normal|mineral|aneurysmal)is(e|ed|ing|ation)\b",
        r"\1iz\2",
    ),
)
_DOUBTS = (
    _rewrite(
        "excl rule",
        rf"\b(?:is |are |was |were )?{_HARDLY} to (?:\w+ly )?{_OUT}"
        r"(?=\s*(?:[.;,]|$|(?:on|by|given|at|in|with)\b))",
        "cannot be excluded",
    ),
    _rewrite(
        "excl rul",
        rf"\b(?:{_CANNOT}|unable to|not able to|{_HARDLY} to|(?:do|does|did|may|would|might|will) not|not)"
        rf" (?:\w+ly )?(?:{_OUT}|excluding|ruling out)\b",
        "cannot exclude",
    ),
    _rewrite(
        "excl rul",
        rf"\b(?:{_CANNOT}|may not|(?:is|are|was|were|has|have) not|not)(?: (?:be|been|\w+ly))*"
        r" (?:excluded|ruled out)\b",
        "cannot be excluded",
    ),
    _rewrite("excluded", r"\b(?:can )?neither be \w+ nor excluded\b", "cannot be excluded"),
    _rewrite(
        "unlikely", r"\b(?:is )?unlikely,? but (?:\w+ )?(?:cannot be excluded|possible)", "cannot be excluded"
    ),
    _rewrite("excluded", r"\bcan (?:now )?be (?:\w+ly )?excluded\b", "is excluded"),
    _rewrite("ruled", r"\bcan (?:now )?be (?:\w+ly )?ruled out\b", "is ruled out"),
    _rewrite("excl rule", rf"(?<!not )\b(?:can (?:\w+ly )?|able to ){_OUT}\b", "excludes"),
    _rewrite("if there", r"\bif there (?:is|are|was|were)\b", "in case of"),
    _rewrite("exclusion", r"\bexclusion of\b(?=[^.;]*\b(?:not|im)(?: be)? ?possible\b)", "cannot exclude"),
)
_CLAUSES = (
    _rewrite(
        "0 1 2 3 4 5 6 7 8 9", r"(?:^|(?<=[\s.;:,]))\(?\d{1,2}[.)]\s*(?=[A-Za-z])(?!(?:cm|mm)\b)", " . "
    ),
    _rewrite("0 1 2 3 4 5 6 7 8 9", r"(?:^|(?<=\s))\d{1,2}[.)](?=\s)", " . "),
    _rewrite("b) a)", r"(?:^|(?<=\s))\(?[a-h]\)\s", " . "),
    _rewrite(".", r"(?<=[a-z]{4})\.(?=[a-z]{4})", " . "),
    _rewrite("[ ☐ ✗ ✘ ❌", r"\[[ ]\]|[☐✗✘❌]", " . no "),
    _rewrite("[x ☑ ✓ ✔ ✅", r"\[x\]|[☑✓✔✅]", " . "),
    _rewrite("|", r"\|", " . "),
    _rewrite("• · ‣ ▪ ◦ ● ■ ► ▶ ➢", r"[•·‣▪◦●■►▶➢]", " . "),
    _rewrite(":", rf"(?:^|(?<=[.;]\s)|(?<=\n))\s*(?:{_ASKING})\s*:[^.\n]*", " . "),
    _rewrite(":", r"\b(no|without|negative for|free of)[ ]*:[ ]*", r"\1 "),
    *_DOUBTS,
    _rewrite(": = ? - \u2013", rf"{_NAME}[ ]*(?:[:=?]|[ ][\u2013—-]+(?=[ ]))[ ]*{_ANSWER}{_END}", _answered),
    _rewrite(
        "(", rf"{_NAME}[ ]*\((?:(?P<no>{_NO}|-+)|(?P<yes>{_YES}|\++)|(?P<maybe>{_MAYBE}|\?))\)", _answered
    ),
    _rewrite(":", rf"(?:^|(?<=[.;!?]\s)){_NAME}[ ]*:(?P<rest>[^.;\n]*)", _headed),
    _rewrite("- \u2013 — → :", r"\s+(?:-+|\u2013+)\s+|—|→|[:]\s", " ; "),
    _rewrite("while whereas", r",?\s(?:while|whereas)\s", " ; "),
    _rewrite(
        " and ",
        rf"(\b{_DENIES}\b[^.;]{{0,200}}?),? and"
        rf" (?=(?:the|there|heart|cardiac|mediast\w+|lungs?|aorta)\b[^.;,]{{0,60}}?\b{_FINITE}\b)",
        r"\1 ; ",
    ),
    _rewrite(
        " and ",
        rf"(\b{_FINITE}\b[^.;]{{0,200}}?),? and (?=(?:\w+ ){{1,4}}?is (?:not|no longer|absent|unlikely)\b)",
        r"\1 ; ",
    ),
    _rewrite(
        ",",
        rf"(\b{_DENIES}\b[^.;,]{{0,200}}),\s+(?=(?:{_WORD}){{1,4}}(?:present|noted)[ ]*(?:[.;]|$))",
        r"\1 ; ",
    ),
    _rewrite(",", rf",\s+(?P<words>(?:{_WORD}){{0,6}}?)(?P<verb>{_FINITE}\b(?: \w+)?)", _clause),
    _rewrite(",", rf",\s+(?=(?:{_DEGREES}|there|status post)\b(?![^.;]*\b(?:or|nor)\b))", " ; "),
)
"""In this order: list marks, doubts, answers, headings, dashes, clauses."""
