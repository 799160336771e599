"""The contract of a dataset: facts that a method may know, and studies by split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, Self

from harness.core.types import IMAGE, DatasetInfo, Study

SPLITS = ("train", "val", "test")

ONLY_IMAGE: Mapping[str, str] = {IMAGE: "frontal"}
"""Roles of a dataset with one image per study: methods for chest radiographs read it as the frontal view."""


class Dataset(Protocol):
    """An opened dataset, whose files were checked.

    Attributes:
        info: what methods may know.
    """

    info: DatasetInfo

    @classmethod
    def open(cls, root: Path | None = None, *, image_size: int | None = None) -> Self:
        """Find the data (below ``root`` where they do not ship with a package) and check them.

        Raises:
            HarnessError: a file is absent or counts are off; the message names file and expectation.
        """
        ...

    def studies(self, split: str) -> Sequence[Study]:
        """Studies of ``train``, ``val`` or ``test`` in the dataset's own order; images may load lazily."""
        ...
