"""The types that every part of the harness shares. NumPy only: tables rebuild where torch is absent."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.core.words import Words, words_of

if TYPE_CHECKING:
    from torch import Tensor

CONTEXT = "context"
"""The modality name of clinical text (demographics and indication); every other modality is an image."""

IMAGE = "image"
"""The only image of a study in datasets without named views (captions, CT slices)."""


CHEXPERT_LABELS = (
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
"""The 14 observations of CheXpert, in the order of chest X-ray datasets' labels (Irvin et al. 2019)."""


class Task(StrEnum):
    """What a method produces and a dataset can score."""

    REPORT = "report"
    DIAGNOSE = "diagnose"
    SYNTHESIZE = "synthesize"


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """What a method may know about a dataset before it sees a study.

    Attributes:
        name: registry name, e.g. ``iu-phantom``.
        tasks: tasks that the dataset's targets allow.
        image_modalities: image modality names in reading order, e.g. ``("frontal", "lateral")``.
        has_context: whether studies carry clinical text (modality ``context``).
        image_size: height and width in pixels of every image.
        channels: image channels.
        label_names: names of the entries of ``Study.labels``.
        multilabel: labels are independent findings (True) or exclusive classes (False).
        tokenizer: tokenisation profile of the text metrics, e.g. ``r2gen-iu``.
        reference_words: text metrics cut references after so many tokens; None keeps them whole.
        report_words: reports themselves end after so many words, for training and for every metric; None:
            they are whole.
        rare_words: words that occur less often in training reports are ``<unk>`` in every report; None: none.
        uncertain: what metrics of findings count an uncertain one as, unless the run says; None: their own.
        licence: terms of the underlying data, shown by ``harness list datasets``.
        fingerprint: changes whenever the data that methods see change.
        roles: modality -> the view that it stands for, e.g. ``{"image": "frontal"}``: methods that declare
            this view read the modality.
        language: of the reports, a code such as ``en``.
        region: part of the body that the reports describe, e.g. ``chest``; empty where it varies.
        may_show_images: images may stand in files that leave the machine, because this program drew them.
        source: name of the user's own file that the studies come from; empty for datasets of one release.
    """

    name: str
    tasks: frozenset[Task]
    image_modalities: tuple[str, ...]
    has_context: bool
    image_size: int
    channels: int = 1
    label_names: tuple[str, ...] = ()
    multilabel: bool = True
    tokenizer: str = "r2gen-iu"
    reference_words: int | None = None
    report_words: int | None = None
    rare_words: int | None = None
    uncertain: str | None = None
    licence: str = ""
    fingerprint: str = ""
    roles: Mapping[str, str] = field(default_factory=dict, hash=False)
    language: str = "en"
    region: str = "chest"
    may_show_images: bool = False
    source: str = ""

    @property
    def title(self) -> str:
        """What tables call it: the name, with the file that the user brought (``csv:mine``)."""
        return f"{self.name}:{self.source}" if self.source else self.name

    @property
    def words(self) -> Words:
        """How reports are split into the words that a method writes.

        Raises:
            UnknownNameError: no such tokenisation profile.
        """
        return words_of(self.tokenizer)

    @property
    def modalities(self) -> tuple[str, ...]:
        """All modality names, images first."""
        return (*self.image_modalities, CONTEXT) if self.has_context else self.image_modalities

    def read_by(self, declared: Container[str]) -> frozenset[str]:
        """The modalities of this dataset that a method reads.

        Args:
            declared: modalities that the method's card declares (``card.reads``).

        Returns:
            Those declared by their own name or by the view that they stand for.
        """
        return frozenset(
            name for name in self.modalities if name in declared or self.roles.get(name) in declared
        )


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """How many studies of a test set have each label; ``names`` and ``positives`` are in one order."""

    names: tuple[str, ...]
    positives: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Study:
    """One imaging study of one patient.

    Attributes:
        images: view name -> uint8 array (H, W, C); a view the study lacks has no key.
        context: demographics and indication as text, or None where the study has none.
        report: the target text (findings), or None.
        labels: float32 (n_labels,), multi-hot findings or a one-hot class, or None.
        attributes: observed facts a missingness mechanism may depend on (age, sex, view position).
    """

    id: str
    patient_id: str
    split: str
    images: Mapping[str, NDArray[np.uint8]]
    context: str | None = None
    report: str | None = None
    labels: NDArray[np.float32] | None = None
    attributes: Mapping[str, str | float | None] = field(default_factory=dict)

    @property
    def modalities(self) -> frozenset[str]:
        """The modalities this study has by nature."""
        return frozenset(self.images) | ({CONTEXT} if self.context is not None else frozenset())


@dataclass(slots=True)
class Inputs:
    """A batch as ``predict`` gets it. What is absent has been blanked: a method cannot peek.

    Attributes:
        ids: study ids, B of them.
        images: view name -> float32 tensor (B, C, H, W) in [0, 1]; zeros where the view is absent.
        context: B texts; None where absent.
        present: modality name -> bool tensor (B,).
        seeds: B integers, each a function of run seed, study id and modality state: the only source of
            randomness a sampled prediction may use.
        reports: B texts that are conditions of ``Method.synthesize``; None in every other task, and for each
            study without one.
    """

    ids: list[str]
    images: dict[str, Tensor]
    context: list[str | None]
    present: dict[str, Tensor]
    seeds: list[int]
    reports: list[str | None] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: Any) -> Inputs:
        """The same batch with its tensors on ``device``."""
        return Inputs(
            self.ids,
            {name: tensor.to(device, non_blocking=True) for name, tensor in self.images.items()},
            self.context,
            {name: tensor.to(device, non_blocking=True) for name, tensor in self.present.items()},
            self.seeds,
            self.reports,
        )


@dataclass(slots=True)
class Targets:
    """What ``fit`` may learn from and ``predict`` never gets.

    Attributes:
        reports: B target texts ("" where a study has none).
        labels: float32 tensor (B, n_labels), or None where the dataset has no labels.
    """

    reports: list[str]
    labels: Tensor | None = None

    def to(self, device: Any) -> Targets:
        """The same targets with their tensor on ``device``."""
        return Targets(self.reports, None if self.labels is None else self.labels.to(device))


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a method predicts for one study; at least one field is set.

    Attributes:
        report: generated text.
        probabilities: float array (n_labels,), class or finding probabilities.
        images: view name -> uint8 array (H, W, C), generated images.
    """

    report: str | None = None
    probabilities: NDArray[np.floating[Any]] | None = None
    images: Mapping[str, NDArray[np.uint8]] | None = None


@dataclass(frozen=True, slots=True)
class JointPrediction(Prediction):
    """Modalities of one study that were generated together.

    Attributes:
        apart: the same modalities, generated one by one from the same conditions.
    """

    apart: Prediction = field(default_factory=Prediction)


@dataclass(frozen=True, slots=True)
class Reference:
    """The truth about one study as a metric gets it; ``images`` are the real ones, view name -> (H, W, C).

    ``context`` is the clinical context that the study has, whatever a method gets of it.
    """

    id: str
    patient_id: str
    report: str | None = None
    labels: NDArray[np.float32] | None = None
    images: Mapping[str, NDArray[np.uint8]] | None = None
    context: str | None = None
