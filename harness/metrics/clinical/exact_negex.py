"""Negex whose pseudo denials cancel the terms inside them, and none behind them."""

from __future__ import annotations

from negspacy.negation import Negex
from spacy.language import Language
from spacy.tokens import Doc

_Matches = list[tuple[int, int, int]]


@Language.factory("exact_negex", default_config={"ent_types": None, "chunk_prefix": None, "span_keys": None})
class ExactNegex(Negex):
    """The component of negspacy, with one difference.

    negspacy 1.1 also drops the term that begins right behind a pseudo denial. So "no change, but no effusion"
    and "pneumonia cannot be excluded; edema is absent" lost their "but" and their semicolon.
    """

    def process_negations(self, doc: Doc) -> tuple[_Matches, _Matches, _Matches]:
        """Terms that precede, follow and end, as (match id, start, end); none begins in a pseudo denial."""
        by_kind: dict[str, _Matches] = {
            kind: [] for kind in ("pseudo", "Preceding", "Following", "Termination")
        }
        for match in self.matcher(doc):
            by_kind[doc.vocab.strings[match[0]]].append(match)
        pseudo = {place for _, start, end in by_kind.pop("pseudo") for place in range(start, end)}
        preceding, following, ending = (
            [each for each in terms if each[1] not in pseudo] for terms in by_kind.values()
        )
        return preceding, following, ending
