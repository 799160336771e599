"""``--impute``: views that test studies lost are generated before a method predicts.

The imputer is told no more about a study than the predicting method itself sees: the modalities that both
read and that remain, never its report, its labels or the lost view.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from harness.core.errors import HarnessError
from harness.core.types import CONTEXT, DatasetInfo, Prediction, Study
from harness.evaluation import synthesis
from harness.evaluation.entries import Entry
from harness.evaluation.predict import synthesize_state
from harness.method.contract import Method
from harness.missingness.policy import FULL
from harness.store.cell import Cell

Progress = Callable[[float, str], None]


@dataclass(frozen=True, slots=True)
class Filled:
    """A modality state whose lost view is generated.

    Attributes:
        name: of the state's files in the predicting method's cell; it holds the imputer's label, preset,
            seed and fingerprint.
        conditions: modalities that the view is generated from.
        studies: test studies with a generated view in the place of the one they lost.
        left: number of test studies that keep some modality, but none of the conditions; they stay without.
    """

    name: str
    conditions: tuple[str, ...]
    studies: tuple[Study, ...]
    left: int


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
    kept = tuple(name for name in info.modalities if name != state and name in both)
    return kept if kept or not card.reads else None


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


def complete(
    entry: Entry,
    studies: Sequence[Study],
    states: Sequence[str],
    info: DatasetInfo,
    cell: Cell,
    fitted: Callable[[], Method[Any]],
    seed: int,
    progress: Callable[[str], Progress],
) -> dict[str, Filled]:
    """Generate the lost views of every state that can be filled, or read what an earlier row generated.

    Images are kept in the imputer's cell, one file a view and set of conditions, so that all methods that
    are shown the same get the same images.

    Args:
        entry: the row to predict, with its imputer.
        studies: test studies; one that lacks a view by nature is not completed.
        states: modality states of the run.
        cell: the imputer's, locked by the caller.
        fitted: gives the fitted imputer; called only if an image is missing.
        seed: of the run; an image's noise follows from it, the study and the view.
        progress: state -> where its progress goes.

    Returns:
        State -> its completed studies; states that stay as they are have no key.
    """
    assert entry.imputer is not None
    found = {}
    for state in states:
        kept = conditions(entry, state, info)
        having = [study for study in studies if state in study.images]
        shown = [_shown(study, kept) for study in having if kept is not None]
        told = [study for study in shown if study.modalities or not kept]
        if kept is None or not told:
            continue
        made = synthesize_state(
            fitted,
            told,
            info,
            cell.predictions(f"imputed-{state}-from-{'+'.join(kept) or 'nothing'}"),
            targets=[state],
            reports=dict.fromkeys(study.id for study in told),
            dropped=state,
            run_seed=seed,
            progress=progress(state),
        )
        name = f"imputed-{entry.imputer.label}-{cell.directory.name}-{state}"
        whole = tuple(
            _with_view(study, state, made[study.id], entry.imputer.label, info)
            for study in having
            if study.id in made
        )
        left = sum(study.id not in made and len(study.modalities) > 1 for study in having)
        found[state] = Filled(name, kept, whole, left)
    return found


def _shown(study: Study, kept: Collection[str]) -> Study:
    """A study with nothing but these modalities: what an imputer may be told."""
    return Study(
        study.id,
        study.patient_id,
        study.split,
        images={view: image for view, image in study.images.items() if view in kept},
        context=study.context if CONTEXT in kept else None,
    )


def _with_view(study: Study, view: str, made: Prediction, by: str, info: DatasetInfo) -> Study:
    """The study with its view replaced by the generated one."""
    image = (made.images or {})[view]
    shape = (info.image_size, info.image_size, info.channels)
    if image.shape != shape or image.dtype != np.uint8:
        raise HarnessError(
            f"{by}: the generated {view} of {study.id} is {image.dtype} {image.shape}, not uint8 {shape}"
        )
    return replace(study, images={**study.images, view: image})


def remark(entry: Entry, info: DatasetInfo, states: Sequence[str], given: Mapping[str, Filled]) -> str:
    """What a row with an imputer still lacks, in a line that names it; empty where nothing."""
    if entry.imputer is None:
        return ""
    reads = info.read_by(entry.method_class.card.reads)
    kept = [state for state in states if state in reads and state not in given]
    parts = [f"not generated, so missing as without it: {', '.join(kept)}"] if kept else []
    parts += [
        f"nothing to generate {state} from in {each.left} studies, which stay without"
        for state, each in given.items()
        if each.left
    ]
    return f"{entry.label}: {'; '.join(parts)}" if parts else ""


def facts(entry: Entry, given: Mapping[str, Filled], cell: str) -> dict[str, Any]:
    """What a manifest says of the imputer: its label and cell, and what was generated from what."""
    if entry.imputer is None:
        return {}
    states = {
        state: {"from": list(each.conditions), "studies": len(each.studies), "left": each.left}
        for state, each in given.items()
    }
    return {"imputed": {"by": entry.imputer.label, "cell": cell, "states": states}}
