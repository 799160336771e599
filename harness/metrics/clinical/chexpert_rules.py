"""CheXpert labels by rules: the stand-in for CheXbert that needs no weights.

A phrase table finds mentions of the observations; three Negex passes (Chapman et al. 2001) tell which of them
are denied, doubted or only asked about. Table and terms are ours, in ``chexpert_rules.yaml``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import yaml

from harness.metrics.base import MetricOutput
from harness.metrics.clinical.labels import (
    BLANK,
    LABELS,
    NEGATIVE,
    POSITIVE,
    UNCERTAIN,
    Classes,
    LabelF1,
    label_outputs,
)

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc, Span

TABLE = Path(__file__).with_name("chexpert_rules.yaml")
PASSES = ("negation", "uncertainty", "hypothetical")
IGNORED = "ignored"

_STRENGTH = np.array([0, 3, 1, 2], dtype=np.int8)  # blank < negative < uncertain < positive
_NO_FINDING = LABELS.index("No Finding")
_DEVICES = LABELS.index("Support Devices")
_PARAGRAPH = re.compile(r"\n\s*\n")
_MARK = re.compile(r"\bX{2,}\b", re.IGNORECASE)
_NUMBERED = re.compile(r"(?:^|(?<=\s))\d{1,2}[.)](?=\s)")


class ChexpertRulesF1(LabelF1):
    """F1 of the 14 CheXpert observations as the rule labeller finds them in both texts.

    Args:
        uncertain: what an uncertain label counts as: ``positive``, ``negative`` or ``ignored``.
    """

    name: ClassVar[str] = "chexpert_rules_f1"
    language: ClassVar[str | None] = "en"
    region: ClassVar[str | None] = "chest"
    outputs: ClassVar[tuple[MetricOutput, ...]] = label_outputs("chexpert_rules_f1")

    @property
    def signature(self) -> str:
        """Identity of the numbers; it changes with the phrase table."""
        return f"chexpert_rules_f1|uncertain:{self.policy}|rules:{table_digest()}|impl:harness|v:1"

    def unavailable(self) -> str | None:
        """One line if spaCy or negspacy is absent."""
        absent = [package for package in ("spacy", "negspacy") if find_spec(package) is None]
        return f"needs {' and '.join(absent)}: pip install {' '.join(absent)}" if absent else None

    def classes(self, texts: Sequence[str]) -> Classes:
        """Classes int8 (n, 14) of the texts."""
        return labeler().classes(texts)


class RuleLabeler:
    """Sorts the 14 observations of a report into blank, positive, negative and uncertain."""

    def __init__(self, table: Mapping[str, Any]) -> None:
        import spacy
        from negspacy import negation  # noqa: F401  (registers the component)

        self._nlp = spacy.blank("en")
        self._nlp.add_pipe("sentencizer", config={"punct_chars": [".", "!", "?"]})
        self._matcher = _matcher(self._nlp, table)
        for name in PASSES:
            self._nlp.add_pipe("negex", name=name, config=negex_config(table[name], _extension(name)))

    def classes(self, texts: Iterable[str]) -> Classes:
        """Classes int8 (n, 14) in the order of ``LABELS``.

        No Finding is positive where no observation other than Support Devices is positive or uncertain.
        """
        classes = [self._classes_of(doc) for doc in self._docs(texts)]
        return np.array(classes, dtype=np.int8).reshape(len(classes), len(LABELS))

    def mentions(self, text: str) -> list[tuple[str, str, int]]:
        """Every mention as (phrase, label, class), in reading order: what the labels are made of."""
        (doc,) = self._docs([text])
        return [(span.text, LABELS[label], class_index) for span, label, class_index in _mentions(doc)]

    def _docs(self, texts: Iterable[str]) -> Iterator[Doc]:
        for text in texts:
            doc = self._nlp.make_doc(plain(text))
            doc.ents = self._matcher(doc)
            for _, component in self._nlp.pipeline:
                doc = component(doc)
            yield doc

    def _classes_of(self, doc: Doc) -> Classes:
        classes = np.full(len(LABELS), BLANK, dtype=np.int8)
        for _, label, class_index in _mentions(doc):
            if _STRENGTH[class_index] > _STRENGTH[classes[label]]:
                classes[label] = class_index
        findings = np.isin(classes, (POSITIVE, UNCERTAIN))
        findings[_DEVICES] = False
        classes[_NO_FINDING] = BLANK if findings.any() else POSITIVE
        return classes


@cache
def labeler() -> RuleLabeler:
    """The labeller of the packaged table; building it takes a second."""
    return RuleLabeler(yaml.safe_load(TABLE.read_text(encoding="utf-8")))


@cache
def table_digest() -> str:
    """Eight hex digits that change with the phrase table."""
    return hashlib.sha256(TABLE.read_bytes()).hexdigest()[:8]


def plain(text: str) -> str:
    """``text`` on one line, full stops for enumeration marks, one spelling of de-identification marks.

    ``No edema 2. XXXX opacity`` becomes ``No edema . xxxx opacity``: a number begins a sentence. A line break
    may stand inside a sentence, but an empty line ends one.
    """
    text = _PARAGRAPH.sub(" . ", text.strip())
    return " ".join(_MARK.sub("xxxx", _NUMBERED.sub(" . ", text)).split())


def expand(phrase: str, words: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """All wordings of a phrase: ``$heart enlarged`` with each entry of ``words["heart"]``.

    Raises:
        KeyError: the phrase names a list that ``words`` lacks.
    """
    slots = [words[part[1:]] if part.startswith("$") else (part,) for part in phrase.split()]
    for words_of_slots in product(*slots):
        yield " ".join(" ".join(words_of_slots).split())


def _mentions(doc: Doc) -> Iterator[tuple[Span, int, int]]:
    """Mention, label index and class of every finding that a document describes."""
    for span in doc.ents:
        kind, _, names = span.label_.partition(":")
        if kind == IGNORED or span._.get(_extension("hypothetical")):
            continue
        class_index = NEGATIVE if kind == "absent" else _class_of(span)
        for name in names.split(" + "):
            yield span, LABELS.index(name), class_index


def _class_of(span: Span) -> int:
    if span._.get(_extension("negation")):
        return NEGATIVE
    return UNCERTAIN if span._.get(_extension("uncertainty")) else POSITIVE


def _matcher(nlp: Language, table: Mapping[str, Any]) -> Callable[[Doc], list[Span]]:
    """A function from a document to the longest phrases in it, labelled ``present:Edema`` and so on."""
    from spacy.matcher import PhraseMatcher
    from spacy.tokens import Doc
    from spacy.util import filter_spans

    phrases = {IGNORED: table[IGNORED]}
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


def negex_config(terms: Mapping[str, Sequence[str]], extension: str) -> dict[str, Any]:
    """Options of a Negex component that writes to ``extension``, from lists of our table."""
    termset = {
        "pseudo_negations": terms["pseudo"],
        "preceding_negations": terms["preceding"],
        "following_negations": terms["following"],
        "termination": terms["termination"],
    }
    return {"neg_termset": termset, "extension_name": extension}


def _extension(name: str) -> str:
    return f"harness_{name}"
