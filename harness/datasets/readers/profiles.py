"""Named profiles: which text of a report counts, how it is cleaned, where references end, whose split."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.core.errors import UnknownNameError
from harness.core.names import did_you_mean
from harness.core.words import frequent_words, words_of
from harness.datasets.images.pixels import ImageFile
from harness.datasets.readers.records import ReportRecord

DEFAULT = "default"
UNKNOWN = "<unk>"

_DEIDENTIFIED = re.compile(r"X{2,}|_{2,}")


def as_it_stands(text: str) -> str:
    """The text without white space at its ends."""
    return text.strip()


def one_line(text: str) -> str:
    """Every run of white space, line breaks included, is one space."""
    return " ".join(text.split())


def alphabetic(text: str) -> str:
    """Lower-cased words that, punctuation around them aside, are letters alone; "." closes each sentence.

    Labels of findings need the ends of sentences: a denial reaches no further.
    """
    words: list[str] = []
    for token in text.lower().split():
        word = token.strip("\"'()[]{},;:.!?")
        words += [word] if word.isalpha() else []
        if token.rstrip("\"')]}")[-1:] in (".", "!", "?") and words and words[-1] != ".":
            words.append(".")
    return " ".join(words)


def r2gen_text(text: str) -> str:
    """The words of R2Gen's cleaner, separated by spaces."""
    rule = words_of("r2gen-iu")
    return rule.join(rule.split(text))


def without_codes(text: str) -> str:
    """One line without tokens of de-identification (``XXXX``, ``___``) and tokens that hold a digit."""
    words = (t for t in text.split() if not _DEIDENTIFIED.search(t) and not any(c.isdigit() for c in t))
    return " ".join(words)


@dataclass(frozen=True, slots=True)
class Profile:
    """How a dataset's files become references.

    Attributes:
        name: what ``--set DATASET.profile=NAME`` takes.
        about: one line for tables: whose convention, and where it departs from the source.
        sections: sections of a report that make the target, joined by a space in this order.
        clean: the joined text to the target text.
        tokenizer: tokenisation profile of the text metrics.
        reference_words: text metrics cut references after so many tokens; None keeps them whole.
        report_words: the target text itself ends after so many words, in training, too; None keeps it whole.
        rare_words: words of target texts that occur less often in training are ``<unk>`` everywhere; None:
            no word is replaced.
        uncertain: what metrics of findings count an uncertain one as; None: their default.
        split: whose split: ``release`` or a name that the adapter knows.
        views: views that are kept; empty keeps all.
        per_image: each image with its report is a record, where the source allows either.
    """

    name: str
    about: str
    sections: tuple[str, ...] = ("findings",)
    clean: Callable[[str], str] = as_it_stands
    tokenizer: str = "r2gen-iu"
    reference_words: int | None = None
    report_words: int | None = None
    rare_words: int | None = None
    uncertain: str | None = None
    split: str = "release"
    views: tuple[str, ...] = ()
    per_image: bool = False

    def seen(self, images: Mapping[str, ImageFile]) -> dict[str, ImageFile]:
        """The views that the profile keeps."""
        return {view: file for view, file in images.items() if not self.views or view in self.views}

    def target(self, sections: Mapping[str, str | None]) -> str:
        """The target text from a report's sections by name; ``""`` if it has none of the profile's."""
        parts = (sections.get(name) for name in self.sections)
        return self.clean(" ".join(part for part in parts if part))


def finished(records: Sequence[ReportRecord], profile: Profile) -> list[ReportRecord]:
    """Records whose reports are cut and whose rare words are replaced, where the profile says so.

    Both give higher scores than whole references: they are for comparison with code that does the same.
    """
    if profile.report_words is None and profile.rare_words is None:
        return list(records)
    rule = words_of(profile.tokenizer)
    split = [rule.split(record.report) for record in records]
    if profile.rare_words is not None:
        training = [words for words, record in zip(split, records, strict=True) if record.split == "train"]
        common = set(frequent_words(training, profile.rare_words))
        split = [[word if word in common else UNKNOWN for word in words] for words in split]
    texts = [rule.join(words[: profile.report_words]) for words in split]
    return [replace(record, report=text) for record, text in zip(records, texts, strict=True)]


def table(*profiles: Profile) -> dict[str, Profile]:
    """Profiles by name, in order."""
    return {profile.name: profile for profile in profiles}


def profile_of(dataset: str, profiles: Mapping[str, Profile], name: str) -> Profile:
    """The profile called ``name``.

    Raises:
        UnknownNameError: with the nearest names.
    """
    if name not in profiles:
        raise UnknownNameError(
            f"{dataset}.profile: unknown profile {name!r}", did_you_mean(str(name), profiles)
        )
    return profiles[name]


_WHOLE = Profile("default", "FINDINGS as they stand, references whole")
_BOTH = Profile(
    "findings-impression", "FINDINGS and IMPRESSION, references whole", ("findings", "impression")
)
_DIA = Profile(
    "dia",
    "DiA: lower-cased words of letters alone; R2Gen's split, since its own is unpublished",
    clean=alphabetic,
    tokenizer="without-marks",
    reference_words=50,
    uncertain="negative",
)

_IU = table(
    _WHOLE,
    Profile("r2gen", "R2Gen: references cut at 60 tokens", reference_words=60),
    Profile("vdgen", "VDGen: R2Gen's split, both views, references whole; its 100 tokens cap what it writes"),
    _DIA,
    _BOTH,
)
BY_IMAGE = "by-image"
IU_PROFILES = _IU | table(
    replace(
        _DIA,
        name="dia-images",
        about="DiA's unit: a record per image, 70/10/20 of the images, seed 0; needs allow_leaks",
        split=BY_IMAGE,
        per_image=True,
    )
)
"""Profiles of ``iu-xray``."""

ALL_STUDIES = "all"
OPEN_I_PROFILES = _IU | table(
    Profile(
        ALL_STUDIES,
        "every study with findings and an image: R2Gen's keep their split, others are drawn 70/10/20",
        split=ALL_STUDIES,
    )
)
"""Profiles of ``open-i``."""

MIMIC_PROFILES = table(
    replace(_WHOLE, tokenizer="r2gen-mimic"),
    Profile(
        "r2gen",
        "R2Gen: a record per image, references cut at 100 tokens",
        tokenizer="r2gen-mimic",
        reference_words=100,
        per_image=True,
    ),
    Profile(
        "vdgen",
        "VDGen: a record per image, references whole; its 100 tokens cap what it writes",
        tokenizer="r2gen-mimic",
        per_image=True,
    ),
    replace(_DIA, about="DiA: a record per image, lower-cased words of letters alone", per_image=True),
    replace(_BOTH, tokenizer="r2gen-mimic"),
    Profile("impression", "IMPRESSION alone, references whole", ("impression",), tokenizer="r2gen-mimic"),
)
"""Profiles of ``mimic-cxr``."""
