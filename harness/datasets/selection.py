"""Which studies ``--limit N`` takes of a split: of all findings, the same ones everywhere, nested."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Sequence

from harness.core.types import Study
from harness.datasets.readers.splits import rarest

VERSION = 1
"""Part of the identity of what was trained on a selection; raised whenever the selection changes."""


def select(studies: Sequence[Study], limit: int | None) -> list[Study]:
    """At most ``limit`` studies of a split, in the split's own order; all of them without a limit.

    Studies are grouped by their rarest positive label (the class, where labels are exclusive). Each group is
    put in the order of a hash of its study ids. It gives studies in proportion to its size, and one first. So
    a selection has the prevalences of its split as nearly as its size allows, groups that are common come
    before rare ones, and a selection of N studies is part of every larger one. Without labels the hash alone
    decides.

    Args:
        studies: of one split.
        limit: N, or None.
    """
    if limit is None or limit >= len(studies):
        return list(studies)
    groups = rarest([study.labels for study in studies])
    sizes, seen = Counter(groups), Counter[Hashable]()
    ranks: list[tuple[float, int, str, int]] = []
    for digest, index in sorted((_digest(study.id), index) for index, study in enumerate(studies)):
        group = groups[index]
        ranks.append((seen[group] / sizes[group], -sizes[group], digest, index))
        seen[group] += 1
    return [studies[index] for index in sorted(index for *_, index in sorted(ranks)[:limit])]


def _digest(study_id: str) -> str:
    return hashlib.sha256(f"selection\0{study_id}".encode()).hexdigest()
