"""Labels by rules: a phrase table finds mentions of findings, Negex says which of them are stated.

Three Negex passes (Chapman et al. 2001) tell which mentions are denied, doubted or only asked about. Tables
and terms are ours: a table holds the phrases of each label, ``report_scopes.yaml`` the words of denial.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import yaml

from harness.core.errors import HarnessError
from harness.metrics.clinical.labels import BLANK, LABELS, NEGATIVE, POSITIVE, UNCERTAIN, Classes
from harness.metrics.clinical.report_layout import plain

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc, Span

SCOPES = Path(__file__).with_name("report_scopes.yaml")
LAYOUT = (
    *(
        Path(__file__).with_name(f"report_{name}.py")
        for name in ("answers", "layout", "marks", "records", "rewrites", "wording")
    ),
    Path(__file__).with_name("exact_negex.py"),
)
"""Modules whose patterns decide where a denial ends; a line of them may change labels."""

PASSES = ("negation", "uncertainty", "hypothetical")
IGNORED, OTHER, WEAK = "ignored", "other", "unless_denied"

_STRENGTH = np.array([0, 3, 1, 2], dtype=np.int8)  # blank < negative < uncertain < positive
_NO_FINDING = LABELS.index("No Finding")
_DEVICES = LABELS.index("Support Devices")


LONGEST = 1_000_000
"""Characters of a report; its tokenizer takes no more."""
_MOST_KEPT = 20_000
"""Texts whose labels a labeller remembers: a run asks for its references once per row and modality state."""


class Mention(NamedTuple):
    """A phrase of the table in a text.

    Attributes:
        text: the words.
        kind: ``present``, ``absent`` (the phrase itself denies, "heart is normal"), ``unless_denied`` (it
            counts only where no other phrase denies the label), or ``other`` (a finding without a label).
        labels: indices in ``LABELS``; none for ``other``.
        class_index: POSITIVE, NEGATIVE or UNCERTAIN.
    """

    text: str
    kind: str
    labels: tuple[int, ...]
    class_index: int


class RuleLabeler:
    """Sorts the 14 observations of a report into blank, positive, negative and uncertain.

    Args:
        table: ``words`` (lists that phrases name with ``$``), ``labels`` (label -> kind -> phrases),
            ``ignored`` and, if there are any, ``other`` (phrases).
        scopes: the terms of ``PASSES``, and ``chest``, ``whole`` and ``verdict`` (words, see ``classes``).
    """

    def __init__(self, table: Mapping[str, Any], scopes: Mapping[str, Any]) -> None:
        import spacy

        from harness.metrics.clinical import exact_negex  # noqa: F401  (registers the component)

        self._nlp = spacy.blank("en")
        self._nlp.add_pipe("sentencizer", config={"punct_chars": [".", "!", "?"]})
        self._matcher = _matcher(self._nlp, table)
        for name in PASSES:
            self._nlp.add_pipe("exact_negex", name=name, config=negex_config(scopes[name], _extension(name)))
        self._chest = re.compile(rf"\b(?:{'|'.join(scopes['chest'])})", re.IGNORECASE)
        self._verdict = re.compile(rf"\b(?:{'|'.join(scopes['verdict'])})\b", re.IGNORECASE)
        self._words = _words(table, scopes)
        self._whole = re.compile(rf"(?:(?:{'|'.join(scopes['whole'])})\b[\s.,;:]*)+", re.IGNORECASE)
        self._read: dict[str, Classes] = {}

    def classes(self, texts: Iterable[str]) -> Classes:
        """Classes int8 (n, 14) in the order of ``LABELS``.

        No Finding is positive where no observation other than Support Devices, and no finding of ``other``,
        is positive or uncertain, provided that the text speaks of a chest: it mentions a label, or a word
        begins as one of ``chest``, or all words are of ``whole`` and one of ``verdict`` ("No acute
        findings."). Any other text, and an empty one, is blank throughout.
        """
        listed = list(texts)
        missing = [text for text in dict.fromkeys(listed) if text not in self._read]
        if len(self._read) + len(missing) > _MOST_KEPT:
            self._read = {}
            missing = list(dict.fromkeys(listed))
        read = dict(zip(missing, map(self._classes_of, self._docs(missing)), strict=True))
        if len(missing) <= _MOST_KEPT:
            self._read |= read
        classes = [read[text] if text in read else self._read[text] for text in listed]
        return np.array(classes, dtype=np.int8).reshape(len(classes), len(LABELS))

    def mentions(self, text: str) -> list[tuple[str, str, int]]:
        """Every mention as (phrase, label, class), in reading order: what the labels are made of."""
        (doc,) = self._docs([text])
        return [
            (mention.text, LABELS[label], mention.class_index)
            for mention in _mentions(doc)
            for label in mention.labels
        ]

    def _docs(self, texts: Iterable[str]) -> Iterator[Doc]:
        for text in texts:
            if len(text) > LONGEST:
                raise HarnessError(
                    f"a report of {len(text):,} characters; the rules read {LONGEST:,} at most"
                )
            doc = self._nlp.make_doc(plain(text, self._words))
            doc.ents = self._matcher(doc)
            for _, component in self._nlp.pipeline:
                doc = component(doc)
            yield doc

    def _classes_of(self, doc: Doc) -> Classes:
        classes = np.full(len(LABELS), BLANK, dtype=np.int8)
        mentions = sorted(_mentions(doc), key=lambda mention: mention.kind == WEAK)
        denied = frozenset[int]()
        for mention in mentions:
            if mention.kind == WEAK and not denied:
                denied = frozenset(np.flatnonzero(classes == NEGATIVE).tolist())
            for label in mention.labels:
                if label not in denied and _STRENGTH[mention.class_index] > _STRENGTH[classes[label]]:
                    classes[label] = mention.class_index
        findings = (classes == POSITIVE) | (classes == UNCERTAIN)
        findings[_DEVICES] = False
        others = any(m.kind in (OTHER, WEAK) and m.class_index != NEGATIVE for m in mentions)
        if not findings.any() and not others and self._of_a_chest(doc):
            classes[_NO_FINDING] = POSITIVE
        return classes

    def _of_a_chest(self, doc: Doc) -> bool:
        if any(not span.label_.startswith(OTHER) for span in doc.ents) or self._chest.search(doc.text):
            return True
        is_whole = self._whole.fullmatch(doc.text.strip(" .;,:")) is not None
        return is_whole and self._verdict.search(doc.text) is not None


@cache
def rule_labeler(table: Path) -> RuleLabeler:
    """The labeller of a table; building it takes a second."""
    return RuleLabeler(_read(table), _read(SCOPES))


@cache
def rules_digest(*tables: Path) -> str:
    """Eight hex digits that change with the tables, the terms of denial and doubt, and the layout code."""
    files = (*tables, SCOPES, *LAYOUT)
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:8]


def expand(phrase: str, words: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """All wordings of a phrase: ``$heart enlarged`` with each entry of ``words["heart"]``.

    Raises:
        KeyError: the phrase names a list that ``words`` lacks.
    """
    slots = [words[part[1:]] if part.startswith("$") else (part,) for part in phrase.split()]
    for words_of_slots in product(*slots):
        yield " ".join(" ".join(words_of_slots).split())


def negex_config(terms: Mapping[str, Sequence[str]], extension: str) -> dict[str, Any]:
    """Options of a Negex component that writes to ``extension``, from lists of our table."""
    termset = {
        "pseudo_negations": terms["pseudo"],
        "preceding_negations": terms["preceding"],
        "following_negations": terms["following"],
        "termination": terms["termination"],
    }
    return {"neg_termset": termset, "extension_name": extension}


def _words(table: Mapping[str, Any], scopes: Mapping[str, Any]) -> frozenset[str]:
    """All words of phrases and of terms of denial and doubt, in lower case."""
    lists = [*table["words"].values(), table[IGNORED], table.get(OTHER, [])]
    lists += [phrases for kinds in table["labels"].values() for phrases in kinds.values()]
    lists += [terms for name in PASSES for terms in scopes[name].values()]
    return frozenset(word for phrases in lists for phrase in phrases for word in phrase.lower().split())


def _read(path: Path) -> Mapping[str, Any]:
    table: Mapping[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return table


def _mentions(doc: Doc) -> Iterator[Mention]:
    """What a document describes, in reading order."""
    for span in doc.ents:
        kind, _, names = span.label_.partition(":")
        if kind == IGNORED or span._.get(_extension("hypothetical")):
            continue
        class_index = NEGATIVE if kind == "absent" else _class_of(span)
        labels = tuple(LABELS.index(name) for name in names.split(" + ")) if names else ()
        yield Mention(span.text, kind, labels, class_index)


def _class_of(span: Span) -> int:
    if span._.get(_extension("negation")):
        return NEGATIVE
    return UNCERTAIN if span._.get(_extension("uncertainty")) else POSITIVE


def _matcher(nlp: Language, table: Mapping[str, Any]) -> Callable[[Doc], list[Span]]:
    """A function from a document to the longest phrases in it, labelled ``present:Edema`` and so on."""
    from spacy.matcher import PhraseMatcher
    from spacy.tokens import Doc
    from spacy.util import filter_spans

    phrases = {IGNORED: table[IGNORED], OTHER: table.get(OTHER, [])}
    for names, kinds in table["labels"].items():
        phrases |= {f"{kind}:{names}": listed for kind, listed in kinds.items()}
    tokens = cache(lambda word: [token.text for token in nlp.tokenizer(word)])
    matcher = PhraseMatcher(nlp.vocab, attr="LOWER")
    for label, listed in phrases.items():
        wordings = {wording for phrase in listed for wording in expand(phrase, table["words"])}
        # Word by word through a cache: five times as fast as the tokenizer on every wording.
        docs = [Doc(nlp.vocab, [t for word in wording.split() for t in tokens(word)]) for wording in wordings]
        matcher.add(label, docs)
    return lambda doc: filter_spans(matcher(doc, as_spans=True))


def _extension(name: str) -> str:
    return f"harness_{name}"
