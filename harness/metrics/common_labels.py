"""Which labels a macro average is over: those that enough test studies have.

F1 or AUROC of a label with two positive studies is hardly a number: one study moves it by a half, and no
interval covers it. The labels are chosen once, on the whole test set, and are the same in every resample and
at every missing rate.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.core.types import LabelCounts

LEAST_POSITIVES = 10
"""A label is common where at least so many test studies have it."""

RULE = f"positives>={LEAST_POSITIVES}"
"""The rule as a value of a signature."""


def common_labels(positives: ArrayLike) -> NDArray[np.bool_]:
    """Whether each label is common, (L,), from numbers of positive studies (L,).

    Where no label is, as in a small test set, the average is over all of them.
    """
    enough: NDArray[np.bool_] = np.asarray(positives) >= LEAST_POSITIVES
    return enough if enough.any() else np.ones_like(enough)


def signature_part(counts: LabelCounts | None) -> str:
    """How many labels are common, as a part of a signature: ``common:9of14,positives>=10``."""
    if counts is None:
        return f"common:{RULE}"
    return f"common:{common_labels(counts.positives).sum()}of{len(counts.positives)},{RULE}"


def common_remark(counts: LabelCounts) -> str:
    """Which labels an average over common labels leaves out; empty where it leaves out none."""
    rare = _rare(counts)
    if not rare:
        return ""
    over = len(counts.names) - len(rare)
    return f"over the {over} labels that {LEAST_POSITIVES} or more test studies have; without {_listed(rare)}"


def rare_remark(counts: LabelCounts) -> str:
    """Which rare labels an average over all labels includes; empty where there are none."""
    rare = _rare(counts)
    return f"rare labels included ({_listed(rare)} studies), so its interval is too narrow" if rare else ""


def _rare(counts: LabelCounts) -> list[tuple[str, int]]:
    each = zip(counts.names, counts.positives, common_labels(counts.positives), strict=True)
    return [(name, positives) for name, positives, common in each if not common]


def _listed(rare: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {positives}" for name, positives in rare)
