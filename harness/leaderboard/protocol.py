"""What numbers have to share to stand in one table, and in what tables with one title differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from harness.store.manifest import Manifest
from harness.store.results import Measurement


@dataclass(frozen=True, slots=True)
class Masks:
    """The masks under which numbers were measured.

    Attributes:
        digest: of the modalities that each study loses, for every mask seed and rate.
        seeds: number of mask seeds.
        rates: missing rates above 0; numbers without any fit all masks, because they depend on none.
    """

    digest: str = ""
    seeds: int = 0
    rates: tuple[float, ...] = ()

    @classmethod
    def of(cls, manifest: Manifest, rows: Iterable[Measurement]) -> Masks:
        """The masks of some rows of a result."""
        rates = tuple(sorted({row.rate for row in rows if row.rate > 0.0}))
        return cls(manifest.masks, manifest.mask_seeds, rates) if rates else NOTHING_DROPPED

    def unlike(self, others: Iterable[Masks]) -> str:
        """In words, what these masks have and others do not: ``4 mask seeds, missing rate 0.5``."""
        if not self.rates:
            return "nothing dropped"
        others = [each for each in others if each.rates and each != self]
        parts = []
        if any(each.seeds != self.seeds for each in others):
            parts.append(f"{self.seeds} mask seed{'s' if self.seeds != 1 else ''}")
        if not others or any(each.rates != self.rates for each in others):
            rates = ", ".join(f"{rate:g}" for rate in self.rates)
            parts.append(f"missing rate{'s' if len(self.rates) > 1 else ''} {rates}")
        if any((each.seeds, each.rates) == (self.seeds, self.rates) for each in others):
            parts.append(f"masks {self.digest[:8]}")
        return ", ".join(parts)


NOTHING_DROPPED: Final = Masks()

Place = tuple[str, int, str, str, str]
"""Dataset, number of test studies, drop policy, mechanism, test set."""

Protocol = tuple[str, int, str, str, str, Masks]
"""The same and the masks: what numbers of one table share."""


def place_of(row: Measurement) -> Place:
    """What two numbers have to share to be compared, beside the masks."""
    return row.dataset, row.n, row.drop, row.mechanism, row.test_set


@dataclass(frozen=True, slots=True)
class Variant:
    """What tables or figures with one title may differ in.

    Attributes:
        title: without what ``told_apart`` says.
        test_set: digest of what was scored against.
        signatures: metric -> signature.
    """

    title: str
    test_set: str
    masks: Masks = NOTHING_DROPPED
    signatures: Mapping[str, str] = field(default_factory=dict)


def told_apart(variants: Sequence[Variant]) -> list[str]:
    """For each variant, in what it differs from the others with its title; empty where there are none.

    That is, as far as they differ, the data (``data 8c21e084``), the masks (``4 mask seeds``) and parts of
    signatures (``tok:whitespace``); else, which metrics it has.
    """
    texts = []
    for own in variants:
        others = [each for each in variants if each is not own and each.title == own.title]
        same_data = [each for each in others if each.test_set == own.test_set]
        same_masks = [each for each in same_data if each.masks == own.masks]
        parts = []
        if len(same_data) < len(others):
            parts.append(f"data {own.test_set[:8] or 'unknown'}")
        if len(same_masks) < len(same_data):
            parts.append(own.masks.unlike(each.masks for each in same_data))
        if same_masks:
            parts.append(_in_signatures(own, same_masks) or _in_metrics(own))
        texts.append(", ".join(filter(None, parts)))
    names = [(each.title, text) for each, text in zip(variants, texts, strict=True)]
    return [
        f"{text}, {_in_metrics(own)}" if text and names.count((own.title, text)) > 1 else text
        for own, text in zip(variants, texts, strict=True)
    ]


def _in_signatures(own: Variant, others: Sequence[Variant]) -> str:
    """Parts of signatures that no other variant has in the same metric; empty where there are none."""
    parts: dict[str, None] = {}
    for metric, signature in own.signatures.items():
        foreign = [each.signatures[metric] for each in others if metric in each.signatures]
        differing = [other.split("|") for other in foreign if other != signature]
        for other in differing:
            parts |= dict.fromkeys(part for part in signature.split("|") if part not in other)
    return ", ".join(parts)


def _in_metrics(own: Variant) -> str:
    first, *rest = own.signatures or ("",)
    return f"{first} and {len(rest)} more" if rest else first
