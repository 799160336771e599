"""The data of the sinners, in a module that a box hides."""

from __future__ import annotations

from pathlib import Path

from harness.core.types import DatasetInfo, Study, Task
from tests.helpers.sinners import LABELS, SIZE, drawn


class SinData:
    """30 studies per split with reports, labels, two views and clinical text; opened from nowhere."""

    def __init__(self) -> None:
        self.info = DatasetInfo(
            "sin-data",
            frozenset(Task),
            ("frontal", "lateral"),
            True,
            SIZE,
            label_names=LABELS,
            fingerprint="sin-1",
        )

    @classmethod
    def open(cls, root: Path | None = None, *, image_size: int | None = None) -> SinData:
        return cls()

    def studies(self, split: str) -> list[Study]:
        return drawn(split)
