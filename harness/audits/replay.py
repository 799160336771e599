"""A run's checkpoint has to give the run's stored answers: what behaves only while it is audited shows.

The other checks train a method themselves. A method that notices them (by its callers, by the names of
folders, by the size of batches) may behave for as long as they last. What it answered in a run stands in the
store, beside the checkpoint that gave these answers.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from harness.audits.asked import Asked
from harness.audits.breach import Breach
from harness.audits.differences import Answers, first_difference
from harness.audits.question import Question
from harness.audits.subject import Subject
from harness.core.content import by_content
from harness.core.dotted import flat
from harness.core.errors import HarnessError
from harness.core.files import read_json
from harness.core.slugs import slug
from harness.core.types import Study
from harness.method.fingerprint import code_fingerprint
from harness.missingness.states import FULL
from harness.store.cell import Cell
from harness.store.predictions import PREDICTIONS, AnswerFile

REPLAYED = 32
"""Studies of each modality state that a checkpoint is asked about again."""


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A trained method in the store.

    Attributes:
        cell: its files.
        place: its folder below the store, as manifests name it.
        identity: everything that its weights depend on.
    """

    cell: Cell
    place: str
    identity: Mapping[str, Any]

    @property
    def seed(self) -> int:
        """Of its training, and of every draw of its predictions."""
        return int(self.identity["seed"])


def run_honest(subject: Subject, base: Answers) -> str:
    """Checkpoints of runs give the answers that the runs stored."""
    asked = 0
    for run in stored_runs(subject):
        facts = run.cell.facts()
        if str(facts.get("device", "cpu")).partition(":")[0] != subject.case.device.partition(":")[0]:
            continue  # another device rounds otherwise, and a report may turn on it
        with configured(subject, run) as other:
            if other is not None and _replayed(other, run):
                asked += 1
                subject.replayed[run.place] = run.cell.checkpoint_digest()
    if not asked:
        return "no run of this code in the store, so no row of it counts as audited: audit after the run"
    return f"{asked} checkpoint{'s' * (asked > 1)} of runs gave the stored answers again"


def stored_runs(subject: Subject) -> Iterator[StoredRun]:
    """Complete checkpoints in the store of the method as it is now, on the audit's data, of any settings.

    Raises:
        CorruptFileError: a file of a checkpoint is not what was sealed.
    """
    case, entry = subject.case, subject.entry
    if case.store is None:
        return
    expected = {
        "method": entry.name,
        "variant": entry.variant,
        "preset": case.preset,
        "dataset": case.info.name,
        "data": case.info.fingerprint,
        "words": case.info.tokenizer,
        "code": code_fingerprint(entry.method_class),
    }
    for file in sorted((case.store / "cells" / slug(case.info.name)).glob("*/*/cell.json")):
        identity = read_json(file)
        if {name: identity.get(name) for name in expected} != expected:
            continue
        cell = Cell(file.parent)
        if cell.is_fitted() and not cell.used.outdated():
            yield StoredRun(cell, file.parent.relative_to(case.store).as_posix(), identity)


@contextmanager
def configured(subject: Subject, run: StoredRun) -> Iterator[Subject | None]:
    """The method with a run's settings; None where these hold files whose places are not stored."""
    if run.identity["config"] == by_content(subject.facts["config"]):
        yield subject
        return
    other = Subject(subject.case, replace(subject.entry, overrides=flat(run.identity["config"])))
    other.tolerance = subject.tolerance
    try:
        try:
            other.original()
        except HarnessError:
            yield None
            return
        yield other if by_content(other.facts["config"]) == run.identity["config"] else None
    finally:
        other.close()


def _replayed(subject: Subject, run: StoredRun) -> bool:
    """Ask a run's checkpoint again, in all its states; False where the run has no answers."""
    checkpoint = Path(mkdtemp(dir=subject.folder), "checkpoint")
    shutil.copytree(run.cell.checkpoint, checkpoint, symlinks=True)
    with subject.loaded(checkpoint) as asked:
        states = [_replay(subject, asked, run, state) for state in (FULL, *subject.case.info.modalities)]
    if reached := subject.reached():
        raise Breach(f"{reached}, by the checkpoint of {run.place}")
    return any(states)


def _replay(subject: Subject, asked: Asked, run: StoredRun, state: str) -> bool:
    """Ask again about some studies in one modality state; False where the run has no answers in it."""
    stored = AnswerFile(run.cell.predictions(state), PREDICTIONS).sealed()
    studies = all_over(
        [study for study in subject.case.dataset.studies("test") if study.id in (stored or {})]
    )
    if not stored or not studies:
        return False
    answers = subject.predictions(asked, Question(studies, state, seed=run.seed))
    labels = subject.case.info.label_names
    if difference := first_difference(stored, answers, labels, subject.tolerance):
        raise Breach(
            f"{difference}, from what the run stored to what its checkpoint says ({_where(run, state)})"
        )
    return True


def _where(run: StoredRun, state: str) -> str:
    return f"seed {run.seed}, state {state}"


def all_over(studies: Sequence[Study]) -> list[Study]:
    """``REPLAYED`` studies from all over a split."""
    step = max(1, len(studies) // REPLAYED)
    return list(studies[::step])[:REPLAYED]
