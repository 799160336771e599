"""MeSH codes of the IU collection: parsing them, and the table that turns them into CheXpert labels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from harness.core.types import CHEXPERT_LABELS

SEVERITIES = {"borderline": 1, "mild": 2, "small": 2, "moderate": 3, "large": 4, "severe": 4}
"""Words of degree, weakest first; a code without one stands between mild and moderate."""

UNSTATED_SEVERITY = 2.5
_TABLE = Path(__file__).with_name("mesh_labels.yaml")
_SIDES = {"right": ("right",), "left": ("left",), "bilateral": ("right", "left")}


@dataclass(frozen=True, slots=True)
class MeshCode:
    """One code, e.g. ``Pleural Effusion/bilateral/small``.

    Attributes:
        text: the code as it stands in the report file.
        heading: what is seen, lower case: ``pleural effusion``.
        qualifiers: where and how, lower case: ``{"bilateral", "small"}``.
    """

    text: str
    heading: str
    qualifiers: frozenset[str]

    @property
    def sides(self) -> tuple[str, ...]:
        """``("right",)``, ``("left",)``, both, or none where the code does not say."""
        return tuple(
            dict.fromkeys(side for word in _SIDES if word in self.qualifiers for side in _SIDES[word])
        )

    @property
    def severity(self) -> float:
        """Degree from 1 (borderline) to 4 (severe, large)."""
        return max((SEVERITIES[q] for q in self.qualifiers if q in SEVERITIES), default=UNSTATED_SEVERITY)

    def has(self, *words: str) -> bool:
        """Whether any of ``words`` is a qualifier."""
        return not self.qualifiers.isdisjoint(words)


@lru_cache(maxsize=8192)
def parse(code: str) -> MeshCode:
    """Parse one code; letter case and stray spaces do not matter, and no text is an error."""
    heading, *qualifiers = (" ".join(part.lower().split()) for part in code.split("/"))
    return MeshCode(code, heading, frozenset(q for q in qualifiers if q))


@cache
def label_table() -> dict[str, tuple[MeshCode, ...]]:
    """CheXpert label -> patterns, as ``mesh_labels.yaml`` has them."""
    table = yaml.safe_load(_TABLE.read_text(encoding="utf-8"))
    return {label: tuple(parse(pattern) for pattern in patterns) for label, patterns in table.items()}


@lru_cache(maxsize=8192)
def labels_of_code(code: str) -> frozenset[str]:
    """CheXpert labels that one code makes positive."""
    seen = parse(code)
    return frozenset(
        label
        for label, patterns in label_table().items()
        if any(p.heading == seen.heading and p.qualifiers <= seen.qualifiers for p in patterns)
    )


def labels_of(codes: Iterable[str]) -> NDArray[np.float32]:
    """Multi-hot float32 (14,) in the order of ``CHEXPERT_LABELS``.

    ``No Finding`` follows the CheXpert labeller: positive unless some label other than Support Devices is.
    What CheXpert has no label for (a degenerative spine, a tortuous aorta) does not prevent it.
    """
    positive = frozenset[str]().union(*(labels_of_code(code) for code in codes))
    if not positive - {"Support Devices"}:
        positive |= {"No Finding"}
    return np.array([label in positive for label in CHEXPERT_LABELS], dtype=np.float32)
