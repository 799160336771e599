"""What is odd about a set of reports: counted, with the ids of a few, and never with their text.

No score changes by it. An odd text is scored as it is; a remark below the table says how many there are.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from harness.metrics.base import Metric
from harness.metrics.text.characters import plain_characters
from harness.metrics.text.ngrams import repeated

IDS_SHOWN = 3
"""So many ids are named in a line."""

_SAME_SHARE = 0.1
_LOOP_SHARE, _LOOP_WORDS, _NGRAM = 0.5, 8, 4

_TOKENS = re.compile(
    "[\u0120\u010a\u2581]|(?:^|(?<=\\s))##(?=[a-z0-9])|</?s>|</w>|\\b(?:startseq|endseq)\\b|<0x[0-9A-F]{2}>|@@(?=\\s|$)"
    r"|<(?:unk|pad|bos|eos|sos|start|end|sep|cls|mask|image|extra_id_\d+|start_of_turn|end_of_turn|\|endoftext\|)>"
    r"|\[(?:PAD|CLS|SEP|UNK|MASK|BOS|EOS|/?INST)\]|<\|[^|<>\s]{1,40}\|>",
    re.IGNORECASE,
)
_MARKUP = re.compile(
    r"(?<!\[)\*\*(?=[\w(\"])|^#{1,6}\s+\S|```|^\s*\|.*\|\s*$|\]\(https?:"  # Markdown
    r"|</?(?:a|b|br|div|em|font|h[1-6]|html|i|li|ol|p|pre|span|strong|sub|sup|table|td|th|tr|u|ul)\b[^<>]*>"
    r"|&(?:amp|lt|gt|quot|apos|nbsp|#\d{1,6}|#x[0-9a-f]{1,5});"
    r"|\\(?:text(?:bf|it|rm)?|item|begin|end|section|frac|times|math\w+|emph|underline)\b|\$[^$\n]*[\\^_][^$\n]*\$"
    r"|^\s*[{\[]\s*\"",  # JSON
    re.IGNORECASE | re.MULTILINE,
)
_SIGNS = re.compile("[^a-pr-zA-PR-Z0-9_\\s.,:;()/%+=!?'\"-]")
"""What each match of tokens, markup and escapes holds, and few reports: another sign than these, or a q."""
_WRONGLY_DECODED = re.compile(
    "\u00c3[\u0080-\u00bf\u0152-\u0178\u02c6\u02dc\u2013-\u203a\u20ac\u2122]|\u00c2[\u00a0-\u00bf]"
    "|\u00e2\u20ac|\u00e2\u0080|\u00ef\u00bb\u00bf|\u00ef\u00ac|\u00f0\u0178|\ufffd"
)
_ESCAPED = re.compile(r"\\(?:n|r|t)(?![a-z])|\\n(?=[A-Z])|^\s*\[\s*['\"].*['\"]\s*,?\s*\]\s*$", re.DOTALL)
_MIXED = re.compile("[A-Za-z][\u0370-\u03ff\u0400-\u04ff]|[\u0400-\u04ff][A-Za-z]|[\u0391-\u03a9][a-z]")


@dataclass(frozen=True, slots=True)
class Remark:
    """A count of odd reports.

    Attributes:
        kind: a word for what is odd.
        predicate: the same as the rest of a sentence.
        count: so many are odd.
        total: of so many.
        side: what they are, e.g. ``predictions``.
        ids: of all that are odd, in order.
    """

    kind: str
    predicate: str
    count: int
    total: int
    side: str
    ids: tuple[str, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        return next(iter(sentences([self])))

    @property
    def some_ids(self) -> str:
        """The first few ids."""
        return ", ".join(self.ids[:IDS_SHOWN]) + (", .." if len(self.ids) > IDS_SHOWN else "")


_KINDS: Mapping[str, tuple[str, Callable[[str], bool]]] = {
    "empty": ("are empty", lambda text: not text.strip()),
    "wordless": ("hold no word", lambda text: bool(text.strip()) and not any(map(str.isalnum, text))),
    "tokens": ("hold tokenizer leftovers", lambda text: _TOKENS.search(text) is not None),
    "markup": ("hold markup", lambda text: _MARKUP.search(text) is not None),
    "escapes": ("hold escaped line breaks or a printed list", lambda text: _ESCAPED.search(text) is not None),
    "script": ("are mostly not in Latin script", lambda text: _foreign(text)),
    "mixed": (
        "mix Latin with Cyrillic or Greek letters in one word",
        lambda text: not text.isascii() and _MIXED.search(text) is not None,
    ),
    "decoding": (
        "hold wrongly decoded characters",
        lambda text: not text.isascii() and _WRONGLY_DECODED.search(text) is not None,
    ),
    "repetition": ("repeat themselves", lambda text: _loops(text)),
    "characters": (
        "hold ligatures, soft hyphens or the like, which overlap metrics take as written",
        lambda text: plain_characters(text) != text,
    ),
}
"""Kind -> the rest of a sentence, and whether a text is of the kind."""
_WITH_SIGNS = ("tokens", "markup", "escapes")


def remarks_on(texts: Mapping[str, str], side: str) -> list[Remark]:
    """Remarks on reports of one side.

    Args:
        texts: study id -> report.
        side: what they are in a sentence; of ``references`` no copies are counted.
    """
    distinct = {text: _kinds(text) for text in set(texts.values())}
    odd: dict[str, list[str]] = {}
    for name, text in texts.items():
        for kind in distinct[text]:
            odd.setdefault(kind, []).append(name)
    remarks = [
        Remark(kind, predicate, len(odd[kind]), len(texts), side, tuple(odd[kind]))
        for kind, (predicate, _) in _KINDS.items()
        if kind in odd
    ]
    copies = [] if side == "references" else list(_copies(texts, side))
    return sorted([*copies, *remarks], key=lambda remark: remark.kind != "empty")  # a stable sort


def _kinds(text: str) -> list[str]:
    """The kinds that a text is of. Most texts hold no sign that some kinds need."""
    impossible = () if _SIGNS.search(text) else _WITH_SIGNS
    return [kind for kind, (_, applies) in _KINDS.items() if kind not in impossible and applies(text)]


def _copies(texts: Mapping[str, str], side: str) -> Iterator[Remark]:
    """A remark where one text stands for many studies."""
    fewest = min(max(3, _SAME_SHARE * len(texts)), max(2, len(texts)))
    ends = Counter(tuple(text.rsplit(None, 3)[-3:]) for text in texts.values() if text.strip())
    if max(ends.values(), default=0) < fewest:
        return  # texts that are the same end in the same words, which are counted several times as fast
    counts = Counter(" ".join(text.split()) for text in texts.values() if text.strip())
    text, count = max(counts.items(), key=lambda item: item[1])
    if count >= fewest:
        ids = tuple(name for name, each in texts.items() if " ".join(each.split()) == text)
        yield Remark("same", "are the same text", count, len(texts), side, ids)


def remarks_on_pairs(
    predictions: Mapping[str, str], references: Mapping[str, str], side: str
) -> list[Remark]:
    """Remarks on pairs: copies of the references, and pairs that only look equal.

    Args:
        predictions, references: study id -> report, with the same ids.
        side: what the predictions are in a sentence.
    """
    equal = [name for name, text in predictions.items() if text == references[name]]
    alike = [
        name
        for name, text in predictions.items()
        if text != references[name] and plain_characters(text) == plain_characters(references[name])
    ]
    total = len(predictions)
    remarks = []
    if len(equal) == total > 1:
        remarks.append(Remark("copies", "equal their references", total, total, side, tuple(equal)))
    if alike:
        predicate = "differ from their references in the form of characters alone"
        remarks.append(Remark("form", predicate, len(alike), total, side, tuple(alike)))
    return remarks


def cut_remarks(metric: Metric, texts: Mapping[str, str], side: str) -> list[Remark]:
    """A remark where the model of a metric reads only the beginning of some texts.

    Args:
        metric: its numbers are computed already.
        texts: study id -> report.
        side: what the texts are.
    """
    limit, flags = metric.cut(list(texts.values()))
    ids = tuple(name for name, is_cut in zip(texts, flags, strict=True) if is_cut) if flags else ()
    what = f"texts were cut at {limit} tokens"
    return [Remark(f"cut:{metric.name}", what, len(ids), len(texts), side, ids)] if ids else []


def sentences(remarks: Iterable[Remark], with_ids: bool = True) -> Iterator[str]:
    """One sentence per side: ``7 of 590 predictions are empty, 412 are the same text (empty: s1, s2)``."""
    by_side: dict[tuple[str, int], list[Remark]] = {}
    for remark in remarks:
        _, colon, metric = remark.kind.partition(":")
        if colon:
            behind = f" ({remark.some_ids})" if with_ids else ""
            yield f"{metric}, {remark.side}: {remark.count} of {remark.total} {remark.predicate}{behind}"
            continue
        by_side.setdefault((remark.side, remark.total), []).append(remark)
    for (side, total), members in by_side.items():
        counts = ", ".join(f"{each.count} {each.predicate}" for each in members)
        sentence = counts.replace(f"{members[0].count} ", f"{members[0].count} of {total} {side} ", 1)
        ids = [f"{each.kind}: {each.some_ids}" for each in members if each.ids and each.count < total]
        yield f"{sentence} ({'; '.join(ids)})" if ids and with_ids else sentence


def _foreign(text: str) -> bool:
    """Whether most letters belong to another script than the Latin one."""
    if text.isascii():
        return False
    letters = [character for character in text if character.isalpha()]
    foreign = sum(
        not (
            "A" <= unicodedata.normalize("NFKD", character)[0] < "\u0250" or "\u1e00" <= character <= "\u1eff"
        )
        for character in letters
    )
    return 2 * foreign > len(letters)


def _loops(text: str) -> bool:
    words = text.lower().split()
    total = len(words) - _NGRAM + 1
    # Each different word begins another n-gram, unless it stands among the last few.
    if len(words) < _LOOP_WORDS or len(set(words)) - _NGRAM + 1 >= (1 - _LOOP_SHARE) * total:
        return False
    return repeated(words, _NGRAM)[0] > _LOOP_SHARE * total
