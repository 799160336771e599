"""``--impute``: which lost view can be generated, and from what."""

from __future__ import annotations

from collections.abc import Sequence

from harness.core.errors import HarnessError
from harness.core.types import DatasetInfo
from harness.evaluation import synthesis
from harness.evaluation.entries import Entry
from harness.missingness.policy import FULL


def conditions(entry: Entry, state: str, info: DatasetInfo) -> tuple[str, ...] | None:
    """What a state's lost view is generated from, in the dataset's order; None where it stays missing.

    These are the modalities that the imputer and the predicting method both read, so that the row with
    imputation knows nothing of a study that the row without does not. An imputer that reads nothing gets
    nothing.
    """
    if entry.imputer is None:
        return None
    card, reads = entry.imputer.method_class.card, info.read_by(entry.method_class.card.reads)
    if state not in reads or state not in synthesis.views(card, info):
        return None
    both = reads & info.read_by(card.reads)
    sources = tuple(name for name in info.modalities if name != state and name in both)
    return sources if sources or not card.reads else None


def check(impute: str, rows: Sequence[Entry], states: Sequence[str], info: DatasetInfo) -> None:
    """Refuse a run in which the imputer has nothing to do.

    Raises:
        HarnessError: it generates no view that a method of the run reads and some study loses.
    """
    if any(conditions(row, state, info) is not None for row in rows for state in states):
        return
    card = next((row.imputer.method_class.card for row in rows if row.imputer), None)
    if card is None:
        raise HarnessError(
            f"--impute {impute}: no other method of this run reads an image", "name one with --methods"
        )
    views = synthesis.views(card, info)
    lost = ", ".join(state for state in states if state != FULL) or "nothing"
    raise HarnessError(
        f"--impute {impute}: it fills none of what studies of {info.name} lose here: {lost}",
        f"it generates {', '.join(views)}: try --drop alternate" if views else "it generates nothing of them",
    )
