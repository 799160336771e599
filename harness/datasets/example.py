"""``example``: a few studies drawn from random numbers, for tests of plugins and for trying things out."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from harness.core.types import DatasetInfo, Study, Task

_SIZE = 32
_STUDIES = 24
_LABELS = ("Cardiomegaly", "Pleural Effusion")
_SENTENCES = (("the heart is normal.", "the heart is enlarged."), ("no effusion.", "there is an effusion."))


class ExampleData:
    """24 studies per split, random numbers that show two findings in their brightness; for trying things out.

    Each has two views, clinical text, labels and a report.

    Ages and sexes are known. Every fifth study has no clinical text and every seventh no lateral view.
    """

    licence: ClassVar[str] = "drawn by this program"

    def __init__(self) -> None:
        self.info = DatasetInfo(
            name="example",
            tasks=frozenset({Task.REPORT, Task.DIAGNOSE}),
            image_modalities=("frontal", "lateral"),
            has_context=True,
            image_size=_SIZE,
            label_names=_LABELS,
            licence=self.licence,
            fingerprint="example-1",
            may_show_images=True,
        )

    @classmethod
    def open(cls, root: Path | None = None, *, image_size: int | None = None) -> ExampleData:
        """Nothing is read from disk; ``root`` and ``image_size`` change nothing."""
        return cls()

    def studies(self, split: str) -> list[Study]:
        """The studies of a split, the same at every call."""
        rng = np.random.default_rng(["train", "val", "test"].index(split))
        return [_study(rng, split, number) for number in range(_STUDIES)]


def _study(rng: np.random.Generator, split: str, number: int) -> Study:
    labels = rng.integers(0, 2, len(_LABELS))
    images = {
        view: (rng.integers(0, 100, (_SIZE, _SIZE, 1)) + 60 * labels.sum()).astype(np.uint8)
        for view in (("frontal", "lateral") if number % 7 else ("frontal",))
    }
    context = f"age {30 + number}. indication: cough and chest pain for {number} days" if number % 5 else None
    report = " ".join(choice[label] for choice, label in zip(_SENTENCES, labels, strict=True))
    name = f"{split}{number}"
    attributes: dict[str, str | float | None] = {"age": 30.0 + number, "sex": "FM"[number // 2 % 2]}
    return Study(
        id=name,
        patient_id=f"{split}-p{number // 2}",
        split=split,
        images=images,
        context=context,
        report=report,
        labels=labels.astype(np.float32),
        attributes=attributes,
    )
