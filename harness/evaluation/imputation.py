"""``--impute``: which lost view can be generated, and from what."""

from __future__ import annotations

from collections.abc import Sequence

from harness.core.errors import HarnessError
from harness.core.types import DatasetInfo
from harness.evaluation import synthesis
from harness.evaluation.entries import Entry
from harness.missingness.states import FULL, missing_in


def generated_views(entry: Entry, state: str, info: DatasetInfo) -> tuple[str, ...]:
    """The views that the row's imputer generates for studies in a state, in the dataset's order.

    These are the lost views that the predicting method reads, as far as the imputer generates them and both
    read something that remains. An imputer that reads nothing needs nothing.
    """
    if entry.imputer is None:
        return ()
    card, reads = entry.imputer.method_class.card, info.read_by(entry.method_class.card.reads)
    views = [view for view in synthesis.views(card, info) if view in missing_in(state) & reads]
    return tuple(views) if conditions(entry, state, info) or not card.reads else ()


def conditions(entry: Entry, state: str, info: DatasetInfo) -> tuple[str, ...]:
    """What a state's lost views are generated from, in the dataset's order.

    These are the modalities that the imputer and the predicting method both read, so that the row with
    imputation knows nothing of a study that the row without does not.
    """
    if entry.imputer is None:
        return ()
    read = (info.read_by(each.method_class.card.reads) for each in (entry, entry.imputer))
    both = frozenset.intersection(*read) - missing_in(state)
    return tuple(name for name in info.modalities if name in both)


def check(impute: str, rows: Sequence[Entry], states: Sequence[str], info: DatasetInfo) -> None:
    """Refuse a run in which the imputer has nothing to do.

    Raises:
        HarnessError: it generates no view that a method of the run reads and some study loses.
    """
    if any(generated_views(row, state, info) for row in rows for state in states):
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
