"""Forms and tables of reports as lines ``name: answer.``: rows, boxes, lists under a heading that denies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

STATED = (
    r"(?:seen|present|identified|evident|visible|visuali[sz]ed|noted|detected|demonstrated|appreciated|found"
    r"|observed|shown|apparent)"
)
UNTICKED = r"(?:\[\s?\]|\(\s\)|[☐✗✘❌✕✖❎])"
TICKED = r"(?:\[[xX✓✔]\]|\([xX]\)|[☑☒✓✔✅])"
NO = (
    rf"(?:no(?:ne)?(?: (?:evidence|signs?|{STATED}))?|nil|absent|negative|neg|-ve|not {STATED}|\(-+\)|-(?!\d)"
    r"|(?:probably|(?:most |very )?likely) (?:not|no|absent|negative)(?: present)?"
    r"|(?:very )?low (?:probability|likelihood|suspicion|confidence)"
    r"|0/\d{1,2}|(?:grade|score|stage|level|severity) 0"
    rf"|false|0(?:\.0+)?(?!\.?\d)|n(?!/|\w)|unlikely|excluded|ruled out|denied"
    rf"|0?\.[0-4]\d*|[0-4]?\d(?:\.\d+)?[ ]?%|{UNTICKED})"
)
YES = (
    r"(?:(?:very )?high (?:probability|likelihood|suspicion|confidence)"
    rf"|yes|{STATED}|positive|pos|\+ve|\(\++\)|\++|true|1(?:\.0+)?(?!\.?\d)|y(?!\w)|confirmed|0?\.[5-9]\d*"
    rf"|(?:[5-9]\d|100)(?:\.\d+)?[ ]?%|{TICKED})"
)
MAYBE = (
    r"(?:possibl[ey]|probabl[ey]|likely|uncertain|equivocal|questionable|suspected|maybe|indeterminate|\(\?\)|\?"
    r"|unclear|-1(?:\.0+)?(?!\.?\d)|cannot be excluded|cannot exclude|borderline)"
)
UNKNOWN = (
    r"(?:n/?a|n\.a\.|not (?:applicable|mentioned|assessed|evaluated|reported|assessable|specified|provided"
    r"|documented|available|known|done)|unknown|null|nan|unspecified|blank)"
)
ANSWER = rf"(?:(?P<unknown>{UNKNOWN})|(?P<no>{NO})|(?P<maybe>{MAYBE})|(?P<yes>{YES}))"
"""What stands beside the name of a finding; the first group that matches says what it means."""

_ANSWER = re.compile(rf"[ *_]*{ANSWER}[ *_.]*", re.IGNORECASE)
_RULE = re.compile(r"[ \t|:+-]*-{2,}[ \t|:+-]*|[ \t|:+=-]*={3,}[ \t|:+=-]*")
_NUMBER = re.compile(r"\(?(?:\d{1,3}|[a-z])[.):]?", re.IGNORECASE)
_PAIR = re.compile(
    r"[ \t]*(?P<name>[A-Za-z*_][A-Za-z/' *_-]{2,50}?)(?:[ ]{2,}|[ ]?\.{2,}[ ]?|_{2,}|[,;][ ]?|[ ](?=[ynap]))"
    r"(?P<answer>(?:yes|no|none|absent|present|negative|positive|true|false|0|1)\b)[ \t.]*",
    re.IGNORECASE,
)
_NO_NAME = re.compile(r"\b(?:is|are|was|were|there|or|and|of|no|not|without|nor)\b", re.IGNORECASE)
_BOXED = re.compile(rf"[ \t]*[A-Za-z*][^\n]*?(?:{UNTICKED}|{TICKED})[ \t.;,*]*", re.IGNORECASE)
_BOX = re.compile(rf"[ \t]*[:=-]?[ \t]*(?:(?P<no>{UNTICKED})|{TICKED})[ \t]*[.;,]?", re.IGNORECASE)
_CHOICES = re.compile(
    rf"[ \t]*[:=-]?[ \t]*(?P<choices>(?:(?:{UNTICKED}|{TICKED})[ \t]*"
    r"(?:yes|no|none|present|absent|positive|negative|possible|uncertain|unknown)\b[ \t,;/|]*){2,})",
    re.IGNORECASE,
)
_CHOICE = re.compile(rf"{TICKED}[ \t]*(\w+)", re.IGNORECASE)
_SIGNS = re.compile(
    r"[|\t\[☐✗✘❌✕✖❎☑☒✓✔✅]|\([ x]\)|\.\.|__|[ ]{2}|[,; ](?:yes|no|none|absent|present|true|false"
    r"|negative|positive|[01](?:\.0)?)[ .]*$|:[ \t]*\n|^#|\*$",
    re.IGNORECASE | re.MULTILINE,
)
_ITEM = re.compile(
    r"[ \t]*(?!\*\*)(?:[*•·‣▪◦●■►▶➢✓\u2013—>+-]+[ \t]*|\(?\d{1,2}[.):][ \t]*|\(?[a-z][.)][ \t]+)(?=\w)",
    re.IGNORECASE,
)
_HEADING = re.compile(r"[ \t]*(?:#{1,6}[ \t]*(.+?)|\*\*([^*]+?)\*\*|([^:]+?))[*_ \t]*(:?)[*_ \t]*")
_ABSENT = (
    r"(?:(?:pertinent|relevant|important|other|key|significant)[ ]+)?(?:negatives?|absent|negative findings?"
    rf"|absences?|absent findings?|(?:findings?[ ])?not {STATED}|denied|excluded|ruled out|denies)"
)
DENIED = rf"(?:{_ABSENT}|none of the following)"
"""A heading that denies what stands behind it."""

_DENYING = re.compile(
    rf"(?:{DENIED}|.*\b(?:no|without)\b[^.:;]*\b(?:of|following|for)"
    rf"|.*\b(?:negative for|without|free of|absence of|no)"
    rf"|.*\bfollowing\b.*\b(?:absent|not {STATED}|excluded|ruled out))",
    re.IGNORECASE,
)
DOUBTED = r"(?:possible|uncertain|suspected|equivocal|questionable)(?: findings?)?"
_DOUBTING = re.compile(DOUBTED, re.IGNORECASE)
_ANSWERED = re.compile(r"\b(?:no|not|without|absent|negative|none)\b|[:?=]", re.IGNORECASE)


def with_answers(text: str) -> str:
    """``text`` whose rows of tables, ticked boxes and lists under a heading that denies are sentences.

    ``| Effusion | absent |`` becomes ``Effusion: no.``, ``Effusion [ ] Edema [x]`` becomes ``Effusion: no.
    Edema: yes.``, and each item of a list under ``No evidence of:`` begins with ``no``.
    """
    if not _SIGNS.search(text):
        return text
    return "\n".join(_listed(_boxed(line) for line in _rows(text.split("\n"))))


def _rows(lines: Sequence[str]) -> Iterator[str]:
    """Lines of tables as sentences, other lines as they are."""
    rest = list(lines)
    while rest:
        delimiter = next((each for each in "|\t" if each in rest[0].strip()), ",")
        count = next((i for i, line in enumerate(rest) if delimiter not in line.strip()), len(rest))
        rows = [_cells(line, delimiter) for line in rest[:count] if not _RULE.fullmatch(line)]
        if delimiter == "," and not _is_transposed(rows):
            yield _pair(rest.pop(0))
            continue
        yield from _table(rows)
        del rest[:count]


def _cells(line: str, delimiter: str) -> list[str]:
    return [cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split(delimiter)]


def _word(cell: str) -> str:
    """An answer as ``no``, ``yes``, ``possible`` or ``n/a``; any other cell as it is."""
    match = _ANSWER.fullmatch(cell)
    if match is None:
        return cell
    words = {"unknown": "n/a", "no": "no", "maybe": "possible", "yes": "yes"}
    return next(word for group, word in words.items() if match[group])


def _is_answer(cell: str) -> bool:
    return _ANSWER.fullmatch(cell) is not None


def _is_transposed(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row names findings and the others hold nothing but answers."""
    return (
        len(rows) > 1
        and all(len(row) == len(rows[0]) and all(map(_is_answer, row)) for row in rows[1:])
        and not any(map(_is_answer, rows[0]))
    )


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if _is_transposed(rows):
        yield from (
            f"{name}: {_word(cell)}." for row in rows[1:] for name, cell in zip(rows[0], row, strict=True)
        )
    elif len(rows) > 1 and len(rows[0]) > 2 and all(map(_is_answer, rows[0][1:])):
        for row in rows[1:]:  # columns such as "present" and "absent", one of them ticked
            ticked = [name for name, cell in zip(rows[0][1:], row[1:], strict=False) if cell]
            yield f"{row[0]}: {_word(ticked[0])}." if len(ticked) == 1 else ""
    else:
        yield from map(_row, rows)


def _row(cells: Sequence[str]) -> str:
    cells = [cell.removesuffix(":") for cell in cells if any(map(str.isalnum, cell)) or _is_answer(cell)]
    if cells and _NUMBER.fullmatch(cells[0]):
        del cells[0]
    place = next((index for index, cell in enumerate(cells) if index and _is_answer(cell)), 0)
    if not place:
        return f"{cells[0]}: {'. '.join(cells[1:])}." if cells[1:] else "".join(cells)
    return (
        ". ".join([*cells[: place - 1], f"{cells[place - 1]}: {_word(cells[place])}", *cells[place + 1 :]])
        + "."
    )


def _pair(line: str) -> str:
    """``Effusion .... no`` as ``Effusion: no.``; any other line as it is."""
    match = _PAIR.fullmatch(line)
    if match is None or _NO_NAME.search(match["name"]):
        return line
    return f"{match['name']}: {_word(match['answer'])}."


def _boxed(line: str) -> str:
    """Boxes behind names as answers; a box before a name stays."""
    line = _CHOICES.sub(lambda match: f": {' '.join(_CHOICE.findall(match['choices']))}. ", line)
    if not _BOXED.fullmatch(line):
        return line
    return _BOX.sub(lambda match: ": no. " if match["no"] else ": yes. ", line)


def _listed(lines: Iterable[str]) -> Iterator[str]:
    """Items below a heading that denies or doubts, each with ``no`` or ``possible`` before it."""
    word, in_list = "", False
    for line in lines:
        item = _ITEM.match(line)
        heading = None if item else _HEADING.fullmatch(line)
        if heading and line.strip() and (heading[4] or not heading[3]):
            title = (heading[1] or heading[2] or heading[3]).strip(" :*_")
            word = "no " if _DENYING.fullmatch(title) else "possible " if _DOUBTING.fullmatch(title) else ""
            in_list = False
            yield "" if word else line
            continue
        if not line.strip() and not in_list:
            yield line
            continue
        if not item and in_list and line.strip():
            word = ""
        in_list = in_list or bool(item) or not line.strip()
        start = item.end() if item else 0
        yield (
            line[:start] + word + line[start:]
            if word and line.strip() and not _ANSWERED.search(line[start:])
            else line
        )
