"""A method under audit: asked through the protocol alone, and its answers compared."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import torch

from harness.audits.asked import Asked, Boxed, Progress, Unboxed
from harness.audits.differences import Answers
from harness.audits.noise import EXACT
from harness.audits.question import Question, renamed
from harness.audits.verbatim import NOTHING, Hidden
from harness.audits.watch import DataFiles
from harness.core import registry
from harness.core.files import cache_root
from harness.core.types import DatasetInfo, Inputs, Prediction, Study
from harness.datasets.base import Dataset
from harness.evaluation import synthesis
from harness.evaluation.entries import Entry
from harness.method.box import codec
from harness.method.box.box import Box, BoxError, Limits, possible
from harness.method.box.hidden import modules_of
from harness.method.box.rules import Own, rules_for
from harness.method.box.starters import boxes
from harness.method.card import MethodCard
from harness.method.fingerprint import files_of
from harness.missingness.states import FULL

DRAWS = 2


@dataclass(frozen=True)
class Case:
    """What all methods of an audit share.

    Attributes:
        files: those that hold the data.
        root: folder of the data, or None.
        folder: scratch space.
        seed: of training and prediction.
        store: results store whose checkpoints are asked again, or None.
        unseen: reports that no file of a method may hold.
        libraries: what is imported once for the processes of all methods.
        limits: what such a process may take.
        searched: digest and suffix of a file that was searched -> how many of the ``unseen`` it holds.
    """

    dataset: Dataset
    files: DataFiles
    train: Sequence[Study]
    val: Sequence[Study]
    test: Sequence[Study]
    preset: str
    device: str
    folder: Path
    seed: int = 0
    store: Path | None = None
    root: Path | None = None
    unseen: Hidden = NOTHING
    libraries: Sequence[str] = ()
    limits: Limits = field(default_factory=lambda: Limits(threads=torch.get_num_threads()))
    searched: dict[str, int] = field(default_factory=dict)

    @property
    def info(self) -> DatasetInfo:
        """What a method may know about the dataset."""
        return self.dataset.info

    def hidden_from(self, method: str) -> list[str]:
        """What a method's module never reads: data, what opens or makes it, stores, caches."""
        folders = [str(folder) for folder in (self.root, self.store, cache_root()) if folder is not None]
        return [*self.files.every, *modules_of(type(self.dataset), method), *folders]


class Subject:
    """One method: trained, loaded and asked as often as the checks need it, each time in a new process.

    Attributes:
        checkpoint: folder of the trained method.
        replayed: as ``Verdict.checkpoints``.
        later: answers about mixed states of a process that had been asked about whole studies before.
        tolerance: what rounding does to its answers.
        rounding: why it is not rounding that moves them, empty where it is; None: not measured yet.
        sources, places: as ``files`` and ``places`` of ``Verdict``.
        unmoved: whether answers stay where everything changes that must not matter; None: not tried yet.
    """

    def __init__(self, case: Case, entry: Entry) -> None:
        self.case, self.entry = case, entry
        self.folder = Path(mkdtemp(dir=case.folder))
        self.checkpoint = self.folder
        self.replayed: dict[str, str] = {}
        self.facts: dict[str, Any] = {}
        self.later: Answers = {}
        self.unmoved: bool | None = None
        self.tolerance = EXACT
        self.rounding: str | None = None
        self.sources: dict[str, str] = {}
        self.places: dict[str, str] = {}
        self._originals: dict[bool, Asked] = {}
        self._of_state: dict[str, Answers] = {}
        self._processes = 0
        self._imported: list[str] = []
        self._new: list[Asked] = []
        self._trespassed = False

    def close(self) -> None:
        """End all its processes and remove its files."""
        for original in self._originals.values():
            original.close()
        self._originals.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    @cached_property
    def card(self) -> MethodCard:
        """What the method declares, as far as an audit needs it."""
        return codec.card_in(self.facts["card"])

    @property
    def states(self) -> list[str]:
        """Modalities that the method reads, each of which a state lacks."""
        return [name for name in self.case.info.modalities if name in self.reads]

    @property
    def reads(self) -> frozenset[str]:
        """The dataset's modalities that the method reads."""
        return self.case.info.read_by(self.card.reads)

    @property
    def confined(self) -> str:
        """What kept the method from the data; empty where nothing did."""
        return next(iter(self._originals.values())).confined

    def original(self, elsewhere: bool = False) -> Asked:
        """A process that has imported the method and built it, and was asked nothing.

        Raises:
            BoxError: it could not.
        """
        if elsewhere not in self._originals:
            home = Path(mkdtemp(dir=self.folder))
            self._originals[elsewhere] = asked = self._started(elsewhere, home, [self.folder.resolve()])
            self.facts = self._plugged(asked)
            self._warm(asked)
            if elsewhere and self._trespassed:
                asked.reached()  # the import here was reported
        return self._originals[elsewhere]

    def _plugged(self, asked: Asked) -> dict[str, Any]:
        """Import the method in a process and build it; what is known of it then."""
        entry, case = self.entry, self.case
        settings = {"variant": entry.variant, "preset": case.preset, "device": case.device}
        return asked.ask(
            "plug",
            target=f"{entry.method_class.__module__}:{entry.method_class.__qualname__}",
            info=codec.info_out(case.info),
            settings={**settings, "overrides": dict(entry.overrides)},
        )

    def _warm(self, asked: Asked) -> None:
        """Import once what every copy of a process would import, of installed packages alone."""
        if self._imported and not isinstance(asked, Unboxed):
            asked.ask("warm", names=self._imported)

    def _started(self, elsewhere: bool, home: Path, write: Sequence[Path]) -> Asked:
        """A process without a method, which may write into the folders ``write`` and read the subject's.

        Its temporary files lie in ``home``, which has to be in one of them: libraries write some at import.
        """
        case, entry = self.case, self.entry
        if not (possible() and _importable(entry.method_class)):
            return Unboxed(entry.method_class, case.dataset, case.files.test)
        own = Own(entry.method_class.__module__, tuple(map(str, files_of(entry.method_class).values())))
        read = [str(self.folder.resolve())]
        rules = rules_for(own, entry.overrides, case.hidden_from(own.module), map(str, write), read)
        return Boxed(Box.start(boxes(elsewhere, case.libraries), rules, home, case.limits), rules)

    def _another(self, elsewhere: bool, folder: Path, write: Sequence[Path]) -> Asked:
        """A new process with an untrained method: a copy, or one that imports everything again."""
        original = self.original(elsewhere)
        if copyable(self.case.device) or isinstance(original, Unboxed):
            return original.copy(folder, write)
        asked = self._started(elsewhere, folder, [folder, *write])
        self._new.append(asked)
        self._plugged(asked)
        return asked

    @contextmanager
    def fresh(self, *, elsewhere: bool = False, write: Sequence[Path] = ()) -> Iterator[Asked]:
        """A new process with an untrained method, whose generators are seeded as those of no other process.

        It may write into a folder of its own, which is removed after it, and into the folders ``write``.
        """
        with TemporaryDirectory(dir=self.folder) as folder:
            asked = self._another(elsewhere, Path(folder).resolve(), write)
            self._processes += 1
            try:
                asked.ask("reseed", seed=self._processes)
                yield asked
            finally:
                asked.close()

    def fit(self, progress: Progress) -> str:
        """Train in a new process; a line on the data that it reached for, empty where it did not."""
        with self.trained(self.case.seed, progress) as (_, checkpoint, trespass):
            self.checkpoint, self._trespassed = checkpoint, bool(trespass)
            return trespass

    @contextmanager
    def trained(
        self, seed: int, progress: Progress | None = None, *, elsewhere: bool = False
    ) -> Iterator[tuple[Asked, Path, str]]:
        """A new process that has just trained the method, its checkpoint, and what training reached for."""
        folder = Path(mkdtemp(dir=self.folder)).resolve()
        training, checkpoint = folder / "training", folder / "checkpoint"
        training.mkdir()
        with self.fresh(elsewhere=elsewhere, write=[folder]) as asked:
            train, val = (codec.studies_out(studies) for studies in (self.case.train, self.case.val))
            asked.ask("fit", progress, train=train, val=val, seed=seed, folder=str(training))
            asked.ask("save", folder=str(checkpoint))
            if not self._imported:
                self._imported = _libraries(asked.ask("modules")["names"], self.entry.method_class)
                self._warm(self.original(elsewhere))
            yield asked, checkpoint, self.reached()

    @contextmanager
    def loaded(self, checkpoint: Path | None = None, *, elsewhere: bool = False) -> Iterator[Asked]:
        """A new process with a trained method."""
        with self.fresh(elsewhere=elsewhere) as asked:
            asked.ask("load", folder=str((checkpoint or self.checkpoint).resolve()))
            yield asked

    def inputs(self, studies: Sequence[Study], dropped: str | None = None) -> Inputs:
        """A batch as the harness makes it."""
        (inputs,) = Question(studies, dropped or FULL, size=len(studies)).inputs(
            self.case.info, self.card.reads, self.case.seed
        )
        return inputs

    def copies(self, asked: Asked, study: Study, count: int) -> list[Prediction]:
        """Predictions about copies of a study in one batch."""
        inputs = codec.inputs_out(self.inputs([study] * count))
        return codec.predictions_in(asked.ask("predict", inputs=inputs)["predictions"])

    def opened(self) -> list[str]:
        """Files that its processes opened, or tried to."""
        return [path for asked in (*self._originals.values(), *self._new) for path in asked.opened]

    def answers(self, asked: Asked, question: Question | None = None) -> Answers:
        """Answers about studies: predictions, then drawn reports, then generated views."""
        wanted = question or Question(self.case.test)
        return self.ask(asked, list(wanted.inputs(self.case.info, self.card.reads, self.case.seed)), wanted)

    def predictions(self, asked: Asked, question: Question) -> Answers:
        """Predictions about studies, and nothing else."""
        answers: Answers = {}
        for inputs in question.inputs(self.case.info, self.card.reads, self.case.seed):
            answers |= self._asked(asked, inputs, question, "predict")
        return answers

    def ask(self, asked: Asked, pending: Sequence[Inputs], question: Question | None = None) -> Answers:
        """Answers about batches."""
        answers: Answers = {}
        for inputs in pending:
            answers |= self._asked(asked, inputs, question, "predict")
        for inputs in pending if self.card.samples else ():
            shown = renamed(inputs) if question and question.renamed else inputs
            drawn = asked.ask("sample", inputs=codec.inputs_out(shown), draws=DRAWS)["reports"]
            for name, own in zip(inputs.ids, drawn, strict=True):
                answers[f"{name}, drawn reports"] = Prediction(report="\n".join(map(str, own)))
        for view in synthesis.views(self.card, self.case.info):
            for inputs in pending:
                conditions = synthesis.conditioned(
                    inputs, [view], self._reports(inputs), self.case.seed, "audit"
                )
                views = self._asked(asked, conditions, question, "synthesize", targets=[view])
                if any(view not in (answer.images or {}) for answer in views.values()):
                    raise BoxError(f"it was asked for the {view} view and gave none")
                answers |= {f"{name}, generated {view}": answer for name, answer in views.items()}
        return answers

    def _reports(self, inputs: Inputs) -> dict[str, str | None]:
        reports = synthesis.reports_of(self.case.test)
        return {name: reports.get(name) for name in inputs.ids}

    def _asked(
        self, asked: Asked, inputs: Inputs, question: Question | None, kind: str, **more: Any
    ) -> Answers:
        shown = renamed(inputs) if question and question.renamed else inputs
        content = asked.ask(kind, inputs=codec.inputs_out(shown), **more)["predictions"]
        predictions = codec.predictions_in(content)
        if len(predictions) != len(inputs):
            raise BoxError(f"{len(predictions)} answers about {len(inputs)} studies")
        return dict(zip(inputs.ids, predictions, strict=True))

    def of_state(self, state: str) -> Answers:
        """Answers in one modality state, of a process that was asked nothing else."""
        if state not in self._of_state:
            with self.loaded() as asked:
                self._of_state[state] = self.answers(asked, Question(self.case.test, state))
        return self._of_state[state]

    def reached(self) -> str:
        """A line on the data that its processes reached for since the last call; empty where they did not."""
        return next(filter(None, [asked.reached() for asked in (*self._originals.values(), *self._new)]), "")


def copyable(device: str) -> bool:
    """Whether a process may fork before it is asked: CUDA fails in a fork of its process."""
    return not device.startswith("cuda")


def _libraries(names: Sequence[str], method_class: type) -> list[str]:
    """Modules of installed packages among some names: none of the method's, nor of what registers methods."""
    own = {method_class.__module__.partition(".")[0], *registry.packages(), "__main__"}
    return [name for name in names if name.partition(".")[0] not in own]


def _importable(method_class: type) -> bool:
    """Whether another process can import a class: not one of a notebook, or inside a function."""
    top = method_class.__module__.partition(".")[0]
    if "<locals>" in method_class.__qualname__ or top == "__main__":
        return False
    return any(finder.find_spec(top, None) is not None for finder in sys.meta_path)


def copied(inputs: Inputs) -> Inputs:
    """The same batch in memory of its own."""
    return Inputs(
        list(inputs.ids),
        {name: tensor.clone() for name, tensor in inputs.images.items()},
        list(inputs.context),
        {name: tensor.clone() for name, tensor in inputs.present.items()},
        list(inputs.seeds),
    )


def same_inputs(one: Inputs, other: Inputs) -> bool:
    """Two batches hold the same content, bit by bit."""
    tensors = all(
        torch.equal(tensor, right[name])
        for left, right in ((one.images, other.images), (one.present, other.present))
        for name, tensor in left.items()
    )
    return tensors and one.context == other.context and one.ids == other.ids and one.seeds == other.seeds
