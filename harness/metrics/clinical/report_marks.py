"""Marks of tokenizers, escapes, tags and Markdown as blanks, line breaks and full stops."""

from __future__ import annotations

import re
import unicodedata

from harness.metrics.clinical.report_answers import ANSWER
from harness.metrics.clinical.report_rewrites import Rewrite, rewrite

_NEGATED = r"(?<!\bno)(?<!\bnot)(?<!\bof)(?<!\bwithout)"
"""No denial and no ``of`` stands before this place."""

_UNNAMED = "".join(
    rf"(?<!\b{word})"
    for word in (
        "positive",
        "negative",
        "pertinent",
        "relevant",
        "other",
        "key",
        "absent",
        "normal",
        "abnormal",
    )
)
"""No word stands before this place that belongs to the heading behind it."""

_HEADS = (
    r"(?:findings?|impressions?|conclusions?|opinion|summary|interpretation|comparisons?|indications?|techniques?"
    r"|(?:clinical )?(?:history|information|data)|recommendations?|assessment|lungs?|heart|cardiac"
    r"|mediastinum|pleura|pleural spaces?|bones?|osseous structures|soft tissues|devices|lines and tubes)"
)
REPORTING = r"(?:findings?|impressions?|conclusions?|opinion|summary|interpretation|report)"
_SMALL_WORD = (
    r"(?:no|not|without|of|the|an?|and|or|nor|with|for|to|in|is|are|was|were|possible|likely|probable|by|as)"
)
_LETTERED = re.compile(r"(?:^|[\n.:;]\s*)\(?(?:a|i)[.)]\s", re.IGNORECASE)


def _lettered(match: re.Match[str]) -> str:
    """A full stop for the letter of an item, where a list begins with ``a`` or ``i``."""
    return " . " if _LETTERED.search(match.string) else match[0]


_KEPT = frozenset("☐☑☒✓✔✗✘✅❌❎✕✖\u2581°®©±\u00d7÷≤≥≈≠→←↑↓↔√∅⊘¬‰\u2032″¿%<=>")
"""Symbols that later rules read, and units."""

_ASCII_MARKS = str.maketrans(
    {"。": ". ", "、": ", ", "،": ", ", "؛": "; ", "\u06d4": ". ", "।": ". "} | dict.fromkeys("⇒⟶⟹➜➔➡⮕⟾", "→")
)


_KEYCAP = re.compile("\\d\u20e3")
_RAISED = re.compile("(?<=[A-Za-z]{3})[\u00b9\u00b2\u00b3\u2070-\u2079]+")


def without_footnotes(text: str) -> str:
    """``text`` with a star for each raised number behind a word, which NFKC would join to the word."""
    return text if text.isascii() else _RAISED.sub("*", text)


def with_bullets(text: str) -> str:
    """``text`` with a bullet for each symbol that is no letter, no mark of a form and no unit."""
    if text.isascii():
        return text
    text = _KEYCAP.sub("•", text.translate(_ASCII_MARKS))
    return "".join("•" if not c.isascii() and c not in _KEPT and _is_symbol(c) else c for c in text)


def _is_symbol(character: str) -> bool:
    return unicodedata.category(character) in ("So", "Sm", "Co", "Po")


_ANSWER = re.compile(ANSWER, re.IGNORECASE)
_SIGNED = re.compile(r"(?:^|[\s,;(])\+(?!ve\b)[a-z]{3}", re.IGNORECASE)
_ALL_CODED = re.compile(r"(?:\s*[a-z][a-z ]{3,40}[ ][01]\b[\s,;]*){2,}", re.IGNORECASE)
_DENIAL = re.compile(r"\s*(?:no|not|without|negative for|free of)[ ]+\w", re.IGNORECASE)


def _element(match: re.Match[str]) -> str:
    """``<edema>no</edema>`` as ``edema: no``; an element with another content stays."""
    name, content = match["name"].replace("_", " "), match["content"]
    return f"\n{name}: {content}.\n" if _ANSWER.fullmatch(content) else match[0]


def _minus(match: re.Match[str]) -> str:
    """``-edema`` as a denial, where another word of the text has a plus before it."""
    return " . no " if _SIGNED.search(match.string) else match[0]


def _coded(match: re.Match[str]) -> str:
    """A code behind a name, where the whole text is names and codes."""
    if not _ALL_CODED.fullmatch(match.string):
        return match[0]
    return ": no. " if match[1] == "0" else ": yes. "


def _unmarked(match: re.Match[str]) -> str:
    """The words between two marks; a clause that denies ends with them."""
    words = match["words"]
    return f"{words} . " if _DENIAL.match(words) and match["next"] is not None else words


def _unbracketed(match: re.Match[str]) -> str:
    """Brackets as parentheses, or as a sentence where they follow one."""
    before = match.string[: match.start()].rstrip(" \t")
    return f" . {match[1]} . " if before[-1:] in ("", "\n", *".;,:])") else f"({match[1]})"


_ATTRIBUTES = r"(?:\s+[a-z-]+\s*=[^<>]{0,200})?\s*/?>"
_INLINE = r"(?:a|b|strong|i|em|u|s|span|mark|code|sub|sup|small|big|font|tt|kbd|del|ins|abbr)"
_HTML = rf"(?:{_INLINE}|br|p|li|ul|ol|h\d|div|tr|td|th|table|thead|tbody|section|html|body|pre|hr)"
_NEXT = r"(?=(?P<next>[ \t]*(?=\w)(?!(?:or|nor|and|but|in|on|at|of|is|are|was|were|seen|to|with|within)\b))?)"
MARKS = (
    rewrite("+", r"(?:^|(?<=[\s,;(]))-(?=[a-z]{3})", _minus),
    rewrite(
        "+", r"(?:^|(?<=[\s,;(])|(?<=[,;(][ ]))\+(?!ve\b)(?=[a-z]{3})|(?<=[,;(][ ])\+[ ](?=[a-z]{3})", " . "
    ),
    rewrite(
        "=",
        r"(?<=[a-z])[ ]*=[ ]*(?:(?P<no>0|no|false)|1|yes|true)(?!\w|\.\d)[ ]*[,;]?",
        lambda match: ": no. " if match["no"] else ": yes. ",
    ),
    rewrite(" 0 1", r"(?<=[a-z]{3})[ ]+([01])[ ]*(?:[,;]|$|(?=\s))", _coded),
    rewrite("- \u2013 —", rf"(?:^|[.;,])[ ]*({_HEADS})[ ]+[-\u2013—]+[ ]+(?=\w)", r".\n\1: "),
    rewrite("_", r"(?<=[a-z])_(?=[a-z])", " "),
    rewrite('":', r'(?-i:(?<=[a-z])(?=[A-Z][a-z]+":))', " "),
    rewrite(
        "item finding label name observation",
        r"(?<!\w)(?:item|finding|label|name|observation)[ ]*[:=][ ]*(\w[^;,.\n]{2,40})[;,][ ]*"
        r"(?:status|present|presence|value|answer|result)[ ]*[:=][ ]*",
        r"\1: ",
    ),
    rewrite(":= ==", r"(?<=[\w)])[ ]*(?::=|==)[ ]*(?=\w)", ": "),
    rewrite("(y (p (+", r"[ ]*\((?:y/n|yes/no|present/absent|\+/-)\)(?=[ ]*[:?=])", ""),
    rewrite(
        "...",
        r"(?<=[a-z])[ ]?\.{3,}[ ]?"
        r"(?=(?:yes|no|none|absent|present|negative|positive)[ \t]*(?:[.;,|\n]|[ ]{2}|$))",
        ": ",
    ),
    rewrite(
        "present absent",
        r"\b(present|absent)[ ]+(?=(?:(?!(?:or|nor|and|but|in|on|at)\b)[a-z]+[ ]){1,3}(?:present|absent)\b)",
        r"\1 . ",
    ),
    rewrite("**", r"\*\*([a-z][a-z /]{2,40})\*\*[ ]*[-\u2013—][ ]+", r"\n\1: "),
    rewrite(".", r"(?-i:\.(?<=[a-z]{4}\.)(?=\d{1,2}[.) ]*[A-Z]))", ". "),
    rewrite(
        '" <',
        rf'(?<=[\w,;]){_NEGATED}[ ]["<]((?!(?:unk|mask|num)\b)[a-z]+[ ][^"<>\n=]{{2,200}})[">]',
        r" (\1)",
    ),
    rewrite(
        "</",
        rf"<(?!{_HTML}>)(?P<name>[a-z][a-z _-]{{2,40}})>\s*(?P<content>[^<>]{{1,40}}?)\s*</(?P=name)>",
        _element,
    ),
    rewrite(
        "</",
        r"<\w+\s[^<>]{0,80}?\b(?:name|label|finding|id|key)\s*=\s*[\"'](?P<name>[^\"'<>]{3,60})[\"'][^<>]{0,80}>"
        r"\s*(?P<content>[^<>]{1,40}?)\s*</\w+>",
        _element,
    ),
    rewrite('"', r'(?<=\w)[.;,]?"[ ]+"(?=\w)', " . "),
    rewrite("ġ \u2581", "[\u0120\u2581]+", " "),
    rewrite("ċ <0x0a>", "\u010a|<0x0A>", "\n"),
    rewrite("##", r"(?-i:(?<=[A-Za-z])[ ]*##(?=[a-z]))", ""),
    rewrite("@@", r"@@[ ]", ""),
    rewrite(
        "< [",
        r"</?s>|\[/?(?:sep|cls|pad|eos|bos|inst)\]|<\|[^|<>\s]{1,40}\|>|<(?:pad|eos|bos|sep|end)>",
        "\n\n",
    ),
    rewrite("\\begin \\end", r"\\(?:begin|end)\{[^{}]{1,30}\}(?:\[[^\[\]]{0,30}\])?", "\n\n"),
    rewrite("\\item", r"\\item\b", "\n- "),
    rewrite("\\text \\emph", r"\\(?:text\w\w|emph|underline)\{([^{}]*)\}", r"\1"),
    rewrite("\\n \\r", r"(?:\\r)?\\n|\\r", "\n\n"),  # escaped twice
    rewrite("\\t", r"\\t", "\t"),
    rewrite("<", rf"</t[dh]>\s*<t[dh]{_ATTRIBUTES}", " | "),
    rewrite("<", rf"</(?:b|strong|i|em|u|span|mark)>\s*<(?:b|strong|i|em|u|span|mark){_ATTRIBUTES}", " . "),
    rewrite("<", rf"</?(?:br|p|li|ul|ol|h\d|div|tr|table|section|hr){_ATTRIBUTES}", "\n\n"),
    rewrite("</", rf"</(?!{_INLINE}\s*>)[a-z][\w-]{{0,40}}\s*>", "\n\n"),
    rewrite("<", rf"</?[a-z][\w-]{{0,40}}{_ATTRIBUTES}", " "),
    rewrite("* _", rf"(?<=[\w.)]){_NEGATED}(?:\*{{1,3}}|_{{1,3}})[ \t]+(?:\*{{1,3}}|_{{1,3}})(?=\w)", " . "),
    rewrite("**", rf"(?<=[\w.)]){_NEGATED}[ \t]+\*\*(?=[^*:\n]{{2,40}}(?:\*\*:|:\*\*)|{_HEADS}\*\*)", "\n**"),
    rewrite(":", rf"(?<=[\w)%.]){_NEGATED}{_UNNAMED}[ \t]+(?={_HEADS}[ \t]*:)", "\n\n"),
    rewrite(
        ":",
        rf"(?-i:\b(?!{_SMALL_WORD}\b)([a-z]{{3,}})[ \t]+(?=[A-Z][a-z]+(?:[ ][A-Za-z/]+){{0,3}}:))",
        "\\1\n",
    ),
    rewrite(
        "findings impression conclusion",
        r"(?-i:(?<=[a-z.])[ \t]+(?=(?:FINDINGS|IMPRESSION|CONCLUSION)\b))",
        "\n\n",
    ),
    rewrite("\", ',", r"[\"'][ \t]*,[ \t]*[\"']", " . "),
)
"""Marks of tokenizers, escapes and tags become blanks and line breaks; a heading begins a line."""

MARKUP = (
    rewrite("#", r"^#+[ \t]*", ""),
    rewrite("#", r"(?<=\S)[ \t]+#{1,6}[ \t]+(?=[a-z])", " . "),
    rewrite("`", r"(?<=\w)(?:`+[ \t]+`+|[ ]`[ ])(?=\w)", " . "),
    rewrite(
        "* _ `",
        rf"(?<!\w)(?P<mark>\*{{1,3}}|_{{1,3}}|`{{1,3}})(?=\w)(?P<words>[^*_`\n]*?[^\s*_`])(?P=mark)(?!\w){_NEXT}",
        _unmarked,
    ),
    rewrite("** __ `", r"\*\*+(?=[ \t]*\w)(?<!\w\*\*)|(?<!\w)__+(?=\w)|(?<!\w)`+(?=\w)", ""),
    rewrite("* _ ` ^", r"(?<=[\w.,;)])(?:[*`^]+|_+(?=[ \t]))[ \t]*(?=[a-z])", " . "),
    rewrite("** __ ` ^", r"\*\*+|(?<=\w)__+|`+|\^+(?!\d)", ""),
    rewrite("*", r"(?<=[\w.,;:)][ ])\*[ ]*(?=\w)(?![^*\n]*\w\*)", " . "),
    rewrite("* _", r"(?<=[\w.,;:)][ ])[*_]+(?=\w)|(?<=[\w.,;:)])[*_]+(?!\w)", ""),
    rewrite("[", r"\[(?!\s?\]|[xX✓✔]\]|\d{1,2}\])([^\[\]\n]{2,200})\]", _unbracketed),
    Rewrite(("    ",), re.compile(rf"(?<=[a-z]{{3}}){_NEGATED}[ ]{{4,}}(?=[a-z])", re.IGNORECASE), " . "),
    rewrite("a. i. i)", r"(?:^|(?<=\s))\(?(?:[a-h]|i{1,3}|iv|vi{0,3})[.)]\s+(?=[a-z])", _lettered),
    rewrite("---", r"^[ \t]*\|?[ \t:|-]*-{3,}[ \t:|-]*$", ""),
)
"""Emphasis and rules of Markdown go."""
